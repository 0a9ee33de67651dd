"""Who listens, by what they want: a filter is looked at once per change, however many subscribers have it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from interlock.approval.domain.changes import Filter, Place
from interlock.approval.domain.log import Entry
from interlock.approval.subscription import Ended, Subscription

_REMEMBERED = 256


class Group:
    """The subscriptions that share a filter."""

    def __init__(self, chosen: Filter) -> None:
        self.chosen = chosen
        self._answers: dict[int, bool] = {}
        self.members: set[Subscription] = set()

    def wants(self, entry: Entry) -> bool:
        """Whether the filter passes a change; of the last few the answer is remembered."""
        position = entry.change.position
        answer = self._answers.get(position)
        if answer is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[position] = self.chosen.matches(entry.change.item)
        return answer


class Audience:
    """All subscriptions of a hub."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Group] = {}
        self._of: dict[Subscription, Hashable] = {}

    def __len__(self) -> int:
        return len(self._of)

    def group(self, chosen: Filter) -> Group:
        """The group of a filter; it lasts once it has a member."""
        return self._groups.get(chosen.key) or Group(chosen)

    def add(self, subscription: Subscription, chosen: Filter, group: Group) -> None:
        """Tell it from now on."""
        self._groups.setdefault(chosen.key, group).members.add(subscription)
        self._of[subscription] = chosen.key

    def remove(self, subscription: Subscription) -> None:
        """Tell it no more; twice does no harm."""
        subscription.close()
        key = self._of.pop(subscription, None)
        if key is None:
            return
        members = self._groups[key].members
        members.discard(subscription)
        if not members:
            del self._groups[key]

    def tell(self, since: int, entries: Sequence[Entry]) -> int:
        """The log has grown by these entries, from a number on. How many were overtaken by it, and are ended."""
        slow: list[Subscription] = []
        for group in self._groups.values():
            wanted = any(group.wants(entry) for entry in entries)
            slow += [each for each in group.members if not each.notice(since, wanted=wanted)]
        for each in slow:
            self.remove(each)
        return len(slow)

    @property
    def approvers(self) -> bool:
        """Whether anybody listens for what they may approve."""
        return any(group.chosen.approver is not None for group in self._groups.values())

    def stand(self, places: Mapping[str, tuple[Place, ...]]) -> int:
        """Who lets whom decide for them, by who is let. How many listened by another one, and are ended."""
        changed: list[Subscription] = []
        for group in self._groups.values():
            asks = group.chosen.approver
            if asks is not None and group.chosen.places != places.get(asks.subject, ()):
                changed += group.members
        for each in changed:
            each.end(Ended.STANDING)
            self.remove(each)
        return len(changed)

    def end_all(self, why: Ended) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions()):
            subscription.end(why)
            self.remove(subscription)

    def _subscriptions(self) -> Iterator[Subscription]:
        return iter(self._of)
