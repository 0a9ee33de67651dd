"""Every reason an Interlock call can fail for, and what each one means.

The names equal the enum `interlock.v1.ErrorReason` without its prefix; `ErrorInfo.reason` carries them on
the wire (domain `interlock.v1`). `TABLE` is the single source for status code, retryability, meaning and
default fix; the pages in `docs/errors/` describe the same entries at length.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Reason(StrEnum):
    """A stable, documented cause of a failure. Compared and sent by name."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    CURSOR_INVALID = "CURSOR_INVALID"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105 (a name, not a password)
    RUN_NOT_FOUND = "RUN_NOT_FOUND"
    RUN_WRONG_STATE = "RUN_WRONG_STATE"
    RUN_CONFLICT = "RUN_CONFLICT"
    RUN_EMPTY_PLAN = "RUN_EMPTY_PLAN"
    RUN_TOO_MANY_STEPS = "RUN_TOO_MANY_STEPS"
    RUN_BUDGET_REACHED = "RUN_BUDGET_REACHED"
    STEP_NOT_FOUND = "STEP_NOT_FOUND"
    STEP_WRONG_STATE = "STEP_WRONG_STATE"
    STEP_REJECTED = "STEP_REJECTED"
    STEP_KIND_UNKNOWN = "STEP_KIND_UNKNOWN"
    STEP_FIELD_MISSING = "STEP_FIELD_MISSING"
    PLAN_INVALID = "PLAN_INVALID"
    LEASE_LOST = "LEASE_LOST"
    APPROVAL_NOT_FOUND = "APPROVAL_NOT_FOUND"
    APPROVAL_ALREADY_DECIDED = "APPROVAL_ALREADY_DECIDED"
    APPROVAL_ALREADY_VOTED = "APPROVAL_ALREADY_VOTED"
    APPROVAL_EXPIRED = "APPROVAL_EXPIRED"
    APPROVAL_DIGEST_MISMATCH = "APPROVAL_DIGEST_MISMATCH"
    APPROVAL_WRONG_STEP = "APPROVAL_WRONG_STEP"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    POLICY_INVALID = "POLICY_INVALID"
    POLICY_DENIED = "POLICY_DENIED"
    POLICY_CHANGED = "POLICY_CHANGED"
    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    WORKSPACE_EXISTS = "WORKSPACE_EXISTS"
    WORKSPACE_SOURCE_INVALID = "WORKSPACE_SOURCE_INVALID"
    WORKSPACE_BUSY = "WORKSPACE_BUSY"
    WORKSPACE_HEAD_MOVED = "WORKSPACE_HEAD_MOVED"
    WORKSPACE_DRIFTED = "WORKSPACE_DRIFTED"
    WORKSPACE_LIMIT_EXCEEDED = "WORKSPACE_LIMIT_EXCEEDED"
    WORKSPACE_QUARANTINED = "WORKSPACE_QUARANTINED"
    LIMIT_TOO_HIGH = "LIMIT_TOO_HIGH"
    STORE_FULL = "STORE_FULL"
    TREE_NOT_FOUND = "TREE_NOT_FOUND"
    PATH_OUTSIDE_WORKSPACE = "PATH_OUTSIDE_WORKSPACE"
    PATH_NOT_FOUND = "PATH_NOT_FOUND"
    PATH_IS_DIRECTORY = "PATH_IS_DIRECTORY"
    PATH_NOT_REGULAR = "PATH_NOT_REGULAR"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    FILE_BINARY = "FILE_BINARY"
    PATCH_INVALID = "PATCH_INVALID"
    PATCH_DOES_NOT_APPLY = "PATCH_DOES_NOT_APPLY"
    EFFECT_NOT_FOUND = "EFFECT_NOT_FOUND"
    EFFECT_DIGEST_MISMATCH = "EFFECT_DIGEST_MISMATCH"
    EFFECT_TAMPERED = "EFFECT_TAMPERED"
    EFFECT_ALREADY_APPLIED = "EFFECT_ALREADY_APPLIED"
    EFFECT_DISCARDED = "EFFECT_DISCARDED"
    EFFECT_NOT_PUBLISHABLE = "EFFECT_NOT_PUBLISHABLE"
    EFFECT_NOT_OWNED = "EFFECT_NOT_OWNED"
    EPOCH_STALE = "EPOCH_STALE"
    REVERT_CONFLICT = "REVERT_CONFLICT"
    COMMAND_FAILED = "COMMAND_FAILED"
    COMMAND_TIMED_OUT = "COMMAND_TIMED_OUT"
    COMMAND_LIMIT_EXCEEDED = "COMMAND_LIMIT_EXCEEDED"
    COMMAND_NOT_FOUND = "COMMAND_NOT_FOUND"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    SANDBOX_UNAVAILABLE = "SANDBOX_UNAVAILABLE"
    NETWORK_NOT_AVAILABLE = "NETWORK_NOT_AVAILABLE"
    SECRET_NOT_FOUND = "SECRET_NOT_FOUND"  # noqa: S105 (a name, not a password)
    SECRET_UNUSABLE = "SECRET_UNUSABLE"  # noqa: S105 (a name, not a password)
    TOKEN_NOT_FOUND = "TOKEN_NOT_FOUND"  # noqa: S105 (a name, not a password)
    DELEGATION_NOT_FOUND = "DELEGATION_NOT_FOUND"
    ENVELOPE_NOT_FOUND = "ENVELOPE_NOT_FOUND"
    WEBHOOK_NOT_FOUND = "WEBHOOK_NOT_FOUND"
    PLANNER_UNAVAILABLE = "PLANNER_UNAVAILABLE"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    MODEL_UNAUTHENTICATED = "MODEL_UNAUTHENTICATED"
    MODEL_RATE_LIMITED = "MODEL_RATE_LIMITED"
    MODEL_TIMEOUT = "MODEL_TIMEOUT"
    MODEL_REPLY_INVALID = "MODEL_REPLY_INVALID"
    MODEL_PROMPT_TOO_LARGE = "MODEL_PROMPT_TOO_LARGE"
    MODEL_REFUSED = "MODEL_REFUSED"
    MODEL_REPLY_NOT_RECORDED = "MODEL_REPLY_NOT_RECORDED"
    DATABASE_REVISION_MISMATCH = "DATABASE_REVISION_MISMATCH"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"


class ReasonInfo(NamedTuple):
    """What is known about a reason before anything happened.

    Attributes:
        code: the name of the gRPC status code it travels as, for example `NOT_FOUND`.
        retryable: whether the same request, unchanged, may succeed later.
        meaning: one line for people.
        fix: what to do, used where the error itself does not say something more exact.
    """

    code: str
    retryable: bool
    meaning: str
    fix: str


_R = Reason
_ARG = "INVALID_ARGUMENT"
_PRE = "FAILED_PRECONDITION"
_NOT = "NOT_FOUND"
_BUSY = "ABORTED"
_GONE = "UNAVAILABLE"
_LIMIT = "RESOURCE_EXHAUSTED"

# A table: code, retryable; meaning; fix.
# fmt: off
TABLE: Final[dict[Reason, ReasonInfo]] = {
    _R.INVALID_ARGUMENT: ReasonInfo(_ARG, False,
        "A value in the request cannot be used.",
        "Correct the field that is named and send it again."),
    _R.VALIDATION_FAILED: ReasonInfo(_ARG, False,
        "The request breaks a rule declared in the API definition.",
        "Correct every field listed in the error and send it again."),
    _R.UNAUTHENTICATED: ReasonInfo("UNAUTHENTICATED", False,
        "The call carries no valid token.",
        "Send `authorization: Bearer <token>`; the local one is in the data directory's file `token`. "
        "`interlock whoami` tries it."),
    _R.PERMISSION_DENIED: ReasonInfo("PERMISSION_DENIED", False,
        "The caller is known but may not do this.",
        "`interlock whoami` shows what this token may do; ask for one with the needed role: `interlock "
        "token create`."),
    _R.INTERNAL: ReasonInfo("INTERNAL", False,
        "Something failed inside the service; the details are in its log.",
        "Look for the request id in the service's log, in `logs/` of the data directory; `interlock "
        "doctor` tries every part."),
    _R.UNAVAILABLE: ReasonInfo(_GONE, True,
        "The service cannot be reached or is not ready.",
        "Check that it runs, with `interlock doctor`, then try again; `interlock up` starts every service."),
    _R.DEADLINE_EXCEEDED: ReasonInfo("DEADLINE_EXCEEDED", True,
        "The call took longer than its deadline.",
        "Try again with the same request id, or with a longer deadline."),
    _R.MESSAGE_TOO_LARGE: ReasonInfo(_LIMIT, False,
        "A message is larger than the service accepts.",
        "Send less at once: use paging, or split the request."),
    _R.RESOURCE_EXHAUSTED: ReasonInfo(_LIMIT, True,
        "A bounded resource is used up.",
        "Wait and try again; a stream resumes from its last cursor."),
    _R.REQUEST_ID_REUSED: ReasonInfo("ALREADY_EXISTS", False,
        "This request id was already used for a different request.",
        "Use a new request id for a new request."),
    _R.CURSOR_EXPIRED: ReasonInfo("OUT_OF_RANGE", False,
        "The cursor is older than what is kept.",
        "Start again without a cursor, or from the one in the metadata, after the snapshot that came before it."),
    _R.CURSOR_INVALID: ReasonInfo(_ARG, False,
        "The cursor was not issued by this stream.",
        "Start again without a cursor."),
    _R.PAGE_TOKEN_INVALID: ReasonInfo(_ARG, False,
        "The page token was not issued for this list and these filters.",
        "Start again at the first page, with the filters unchanged between pages."),
    _R.RUN_NOT_FOUND: ReasonInfo(_NOT, False,
        "There is no run with this id.",
        "`interlock run list` shows the runs and their ids."),
    _R.RUN_WRONG_STATE: ReasonInfo(_PRE, False,
        "The run's state does not allow this.",
        "`interlock run get RUN` shows its state; the error names the states that allow this."),
    _R.RUN_CONFLICT: ReasonInfo(_BUSY, True,
        "The run changed at the same moment.",
        "Read the run again, `interlock run get RUN`, and decide again."),
    _R.RUN_EMPTY_PLAN: ReasonInfo(_PRE, False,
        "The run has no steps.",
        "Add at least one step, `interlock step add RUN --plan FILE`, then start it."),
    _R.RUN_TOO_MANY_STEPS: ReasonInfo(_LIMIT, False,
        "The run would have more steps than is allowed.",
        "Split the plan into several runs."),
    _R.RUN_BUDGET_REACHED: ReasonInfo(_PRE, False,
        "Going on could exceed the run's budget; nothing was spent.",
        "Raise the budget, `interlock budget set`, and the run goes on; or skip the steps that ask a model: "
        "`interlock step skip RUN STEP`."),
    _R.STEP_NOT_FOUND: ReasonInfo(_NOT, False,
        "The run has no step with this number.",
        "`interlock step list RUN` shows the steps; they count from 1."),
    _R.STEP_WRONG_STATE: ReasonInfo(_PRE, False,
        "The step's state does not allow this.",
        "`interlock step show RUN STEP` shows its state; the error names those that allow this."),
    _R.STEP_REJECTED: ReasonInfo(_PRE, False,
        "A decision refused the step.",
        "Read the decision's comment, then `interlock step retry RUN STEP` or `interlock step skip RUN "
        "STEP`."),
    _R.STEP_KIND_UNKNOWN: ReasonInfo(_ARG, False,
        "There is no such kind of step.",
        "Use read_file, analyze, edit_file, run_command or summarize; `interlock plan validate FILE` "
        "checks a plan."),
    _R.STEP_FIELD_MISSING: ReasonInfo(_ARG, False,
        "The step lacks a field that its kind needs.",
        "Add the field that is named; `interlock plan validate FILE` checks a plan."),
    _R.PLAN_INVALID: ReasonInfo(_ARG, False,
        "The plan cannot be used.",
        "Correct what the error names; `interlock plan validate FILE` checks it."),
    _R.LEASE_LOST: ReasonInfo(_BUSY, True,
        "Another orchestrator drives this run now.",
        "Try again; the call reaches its new driver."),
    _R.APPROVAL_NOT_FOUND: ReasonInfo(_NOT, False,
        "There is no approval with this id.",
        "`interlock approvals list` shows the pending approvals and their ids."),
    _R.APPROVAL_ALREADY_DECIDED: ReasonInfo(_PRE, False,
        "The approval was already decided.",
        "`interlock approvals show APPROVAL` shows who decided what."),
    _R.APPROVAL_ALREADY_VOTED: ReasonInfo(_PRE, False,
        "The caller has approved this before; other people have to.",
        "Ask those whom the approval's stages name: `interlock approvals show APPROVAL`."),
    _R.APPROVAL_EXPIRED: ReasonInfo(_PRE, False,
        "The approval's time has run out.",
        "`interlock step retry RUN STEP` prepares the step and asks again."),
    _R.APPROVAL_DIGEST_MISMATCH: ReasonInfo(_PRE, False,
        "The decision names a digest that is not the one now waiting.",
        "Look at what waits now, `interlock approvals show APPROVAL`, and decide about its digest."),
    _R.APPROVAL_WRONG_STEP: ReasonInfo(_ARG, False,
        "The approval belongs to another run or step.",
        "Use the approval of the step that waits: `interlock approvals list` shows which it is."),
    _R.APPROVAL_REQUIRED: ReasonInfo(_PRE, False,
        "The step is gated and no approval is bound to its digest.",
        "Look at it and approve it first: `interlock approvals show RUN`, `interlock approvals approve "
        "RUN`."),
    _R.WORKSPACE_NOT_FOUND: ReasonInfo(_NOT, False,
        "There is no workspace with this id.",
        "`interlock workspace list` shows the workspaces and their ids."),
    _R.WORKSPACE_EXISTS: ReasonInfo("ALREADY_EXISTS", False,
        "A workspace for this source already exists.",
        "Use the one that exists; `interlock workspace list` shows it."),
    _R.WORKSPACE_SOURCE_INVALID: ReasonInfo(_ARG, False,
        "The workspace's source cannot be imported.",
        "Name an existing directory, a git repository or an archive that the executor can read."),
    _R.WORKSPACE_BUSY: ReasonInfo(_BUSY, True,
        "Another writer has the workspace.",
        "Wait until its run ends, `interlock run wait RUN`, then try again; or cancel it: `interlock run "
        "cancel RUN`."),
    _R.WORKSPACE_HEAD_MOVED: ReasonInfo(_BUSY, False,
        "The workspace is no longer at the tree this was computed on.",
        "`interlock step retry RUN STEP` prepares the step again, on the workspace as it is now."),
    _R.WORKSPACE_DRIFTED: ReasonInfo(_BUSY, False,
        "The directory was changed by someone else in the meantime.",
        "`interlock workspace diff WORKSPACE` shows what is different; then `interlock step retry RUN "
        "STEP`."),
    _R.WORKSPACE_LIMIT_EXCEEDED: ReasonInfo(_LIMIT, False,
        "The workspace has more files or bytes than is allowed.",
        "Take out what is not needed, or raise the executor's limit (INTERLOCK_WORKSPACE_MAX_…) and "
        "restart it."),
    _R.WORKSPACE_QUARANTINED: ReasonInfo("DATA_LOSS", False,
        "A publication stopped half-way, and what is needed to finish it or to take it back is damaged.",
        "Put the executor's store back from a backup; or move the directory, and `interlock workspace "
        "create DIR` there."),
    _R.LIMIT_TOO_HIGH: ReasonInfo(_ARG, False,
        "The step asks for more than its workspace allows.",
        "Ask for less, or use a workspace with a higher limit: `interlock workspace create DIR --limit "
        "NAME=VALUE`."),
    _R.STORE_FULL: ReasonInfo(_LIMIT, False,
        "The executor's store has reached its cap, or a disk is full, and nothing in it may go.",
        "Free disk space, collect garbage (`interlock workspace gc`) or raise the cap; then `interlock "
        "step retry RUN STEP`."),
    _R.TREE_NOT_FOUND: ReasonInfo(_NOT, False,
        "The tree is not in this executor's store.",
        "Use a tree of the workspace's history: `interlock workspace show WORKSPACE` lists them."),
    _R.PATH_OUTSIDE_WORKSPACE: ReasonInfo(_ARG, False,
        "The path is absolute or leads out of the workspace.",
        "Use a path relative to the workspace's root, without `..`."),
    _R.PATH_NOT_FOUND: ReasonInfo(_NOT, False,
        "The workspace has no such path.",
        "`interlock workspace files WORKSPACE` shows the paths that there are."),
    _R.PATH_IS_DIRECTORY: ReasonInfo(_ARG, False,
        "The path is a directory.",
        "Name a file in it; `interlock workspace files WORKSPACE` shows them."),
    _R.PATH_NOT_REGULAR: ReasonInfo(_ARG, False,
        "The path is not a regular file.",
        "Name a regular file; links and devices are not followed."),
    _R.FILE_TOO_LARGE: ReasonInfo(_LIMIT, False,
        "The file is larger than a step may read or write.",
        "Read a range of lines, or use a command: a run_command step with `head -c` or `tail -n`."),
    _R.FILE_BINARY: ReasonInfo(_ARG, False,
        "The file is not text.",
        "Use a command that understands the file's format: a run_command step with `xxd`, for example."),
    _R.PATCH_INVALID: ReasonInfo(_ARG, False,
        "The patch is not a unified diff.",
        "Send a unified diff of one file, as `diff -u` or `git diff` write it."),
    _R.PATCH_DOES_NOT_APPLY: ReasonInfo(_PRE, False,
        "The patch does not fit the file as it is now.",
        "Make the patch again from the current content; then skip the step (`interlock step skip RUN "
        "STEP`) and add the new one."),
    _R.EFFECT_NOT_FOUND: ReasonInfo(_NOT, False,
        "The executor holds no such effect.",
        "`interlock step retry RUN STEP` prepares the step again; that makes a new preview."),
    _R.EFFECT_DIGEST_MISMATCH: ReasonInfo(_PRE, False,
        "The digest sent is not the digest of the prepared effect.",
        "Look at the current preview, `interlock approvals show RUN`, and approve its digest."),
    _R.EFFECT_TAMPERED: ReasonInfo("DATA_LOSS", False,
        "What is stored for the effect is not what was reviewed.",
        "Find out who wrote to the executor's directory; then `interlock step retry RUN STEP` prepares "
        "the step anew, and asks anew."),
    _R.EFFECT_ALREADY_APPLIED: ReasonInfo(_PRE, False,
        "The effect was already published.",
        "Nothing is left to be done: `interlock step show RUN STEP` shows what was published."),
    _R.EFFECT_DISCARDED: ReasonInfo(_PRE, False,
        "The effect was discarded.",
        "`interlock step retry RUN STEP` prepares the step again."),
    _R.EFFECT_NOT_PUBLISHABLE: ReasonInfo(_PRE, False,
        "The effect holds something that cannot be published.",
        "Let the step make only files, directories and links inside the workspace; then `interlock step "
        "retry RUN STEP`."),
    _R.EFFECT_NOT_OWNED: ReasonInfo("PERMISSION_DENIED", False,
        "The effect or the run belongs to another caller.",
        "Leave it to the orchestrator that drives the run; by hand, use a run id or an attempt of your own."),
    _R.EPOCH_STALE: ReasonInfo(_BUSY, False,
        "The caller's lease was taken over by another driver.",
        "Stop driving this run."),
    _R.REVERT_CONFLICT: ReasonInfo(_PRE, False,
        "What the step changed has been changed again since.",
        "Undo the later change of the paths named first, or put them right by hand; then `interlock step "
        "revert RUN STEP` again."),
    _R.COMMAND_FAILED: ReasonInfo(_PRE, False,
        "The command ended with a failure.",
        "`interlock step show RUN STEP` shows its output; correct the cause, then `interlock step retry "
        "RUN STEP`."),
    _R.COMMAND_TIMED_OUT: ReasonInfo(_PRE, False,
        "The command was stopped at its time limit.",
        "Make it faster, then `interlock step retry RUN STEP`; or add a step with a longer `timeout`."),
    _R.COMMAND_LIMIT_EXCEEDED: ReasonInfo(_PRE, False,
        "The command was stopped at a resource limit.",
        "Use less, then `interlock step retry RUN STEP`; or add a step that asks for more of what is named."),
    _R.COMMAND_NOT_FOUND: ReasonInfo(_PRE, False,
        "The command does not exist in the sandbox.",
        "Name a program that is under /usr or in the workspace; `interlock step show RUN STEP` shows the "
        "command."),
    _R.OUTCOME_UNKNOWN: ReasonInfo(_PRE, False,
        "An effect outside the workspace may or may not have happened.",
        "Find out what happened, then `interlock step retry RUN STEP` or `interlock step skip RUN STEP`."),
    _R.SANDBOX_UNAVAILABLE: ReasonInfo(_PRE, False,
        "This machine cannot give the isolation that is required.",
        "Run `interlock doctor`; it says what is missing."),
    _R.NETWORK_NOT_AVAILABLE: ReasonInfo(_PRE, False,
        "The step asks for network access that it cannot have.",
        "Leave the host out, or have it added to INTERLOCK_NETWORK_HOSTS of the executor."),
    _R.SECRET_NOT_FOUND: ReasonInfo(_PRE, False,
        "The step names a secret that the executor does not have.",
        "Give the executor a file of that name in INTERLOCK_SECRETS_DIR, or correct the step."),
    _R.SECRET_UNUSABLE: ReasonInfo(_PRE, False,
        "The executor has the secret and cannot use it, or may not.",
        "Correct the secret's value or file as the message says; then `interlock step retry RUN STEP`."),
    _R.POLICY_INVALID: ReasonInfo(_ARG, False,
        "The policy cannot be used as it is written.",
        "Correct the rule that the message names, in the file of INTERLOCK_POLICY or in the plan."),
    _R.POLICY_DENIED: ReasonInfo(_PRE, False,
        "A rule of the policy denies the step.",
        "Do it another way, skip it (`interlock step skip RUN STEP`), or have whoever keeps the policy change it."),
    _R.POLICY_CHANGED: ReasonInfo(_PRE, False,
        "Another policy is in force than when the step was decided about.",
        "Look at what the step asks now: `interlock approvals list`."),
    _R.TOKEN_NOT_FOUND: ReasonInfo(_NOT, False,
        "There is no such token, or none that still works.",
        "`interlock token list --all` shows those there are."),
    _R.DELEGATION_NOT_FOUND: ReasonInfo(_NOT, False,
        "There is no such delegation.",
        "`interlock delegation list --all` shows those there are."),
    _R.ENVELOPE_NOT_FOUND: ReasonInfo(_NOT, False,
        "The run has no such envelope.",
        "`interlock run envelope list RUN` shows those it has."),
    _R.WEBHOOK_NOT_FOUND: ReasonInfo(_NOT, False,
        "There is no such webhook, or no such delivery.",
        "`interlock webhook list` shows the webhooks, `interlock webhook deliveries` what was sent to one."),
    _R.PLANNER_UNAVAILABLE: ReasonInfo(_GONE, True,
        "The planner cannot be reached.",
        "Check that the planner runs, with `interlock doctor`; its log is in `logs/` of the data directory."),
    _R.MODEL_UNAVAILABLE: ReasonInfo(_GONE, True,
        "The model's server cannot be reached or fails.",
        "Check the gateway's address, with `interlock doctor`, and try again."),
    _R.MODEL_UNAUTHENTICATED: ReasonInfo(_PRE, False,
        "The model's server refuses the planner's key.",
        "Configure a valid key for the gateway (docs/models.md); `interlock doctor` tries it."),
    _R.MODEL_RATE_LIMITED: ReasonInfo(_LIMIT, True,
        "The model's server asks to slow down.",
        "Wait and try again (a step: `interlock step retry RUN STEP`), or raise the limit there."),
    _R.MODEL_TIMEOUT: ReasonInfo("DEADLINE_EXCEEDED", True,
        "The model did not answer in time.",
        "Try again (a step: `interlock step retry RUN STEP`), or raise INTERLOCK_MODEL_TIMEOUT of the planner."),
    _R.MODEL_REPLY_INVALID: ReasonInfo(_PRE, True,
        "The model's reply cannot be used.",
        "Try again (a step: `interlock step retry RUN STEP`), word the goal differently, or use a better model."),
    _R.MODEL_PROMPT_TOO_LARGE: ReasonInfo(_ARG, False,
        "The prompt is larger than the model accepts.",
        "Give fewer context keys or smaller files."),
    _R.MODEL_REFUSED: ReasonInfo(_PRE, False,
        "The model declined to answer.",
        "Word the instruction differently or use another model."),
    _R.MODEL_REPLY_NOT_RECORDED: ReasonInfo(_PRE, False,
        "The record that answers in place of a model has no reply to this request.",
        "Replay on the same tree, goal and steps, or ask models: `interlock run exec` without `--replay-from`."),
    _R.DATABASE_REVISION_MISMATCH: ReasonInfo(_PRE, False,
        "The database has another schema revision.",
        "Run `interlock db upgrade`."),
    _R.DATABASE_UNAVAILABLE: ReasonInfo(_GONE, True,
        "The database cannot be reached.",
        "Check that PostgreSQL runs and that INTERLOCK_DATABASE_URL is right: `interlock doctor` tries it."),
}
# fmt: on
