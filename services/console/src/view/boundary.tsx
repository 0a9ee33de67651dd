// What cannot be shown takes nothing else with it, and cannot be decided about.
import { Component, type ComponentChildren } from "preact";
import { Text } from "./text.tsx";

interface Props {
  children: ComponentChildren;
}

export class Boundary extends Component<Props, { broken: string }> {
  override state = { broken: "" };

  static override getDerivedStateFromError(error: unknown): { broken: string } {
    return { broken: String(error) };
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return (
      <div class="problem" role="alert">
        <p>
          This cannot be shown here: <Text text={this.state.broken} />
        </p>
        <p>
          <code>interlock approvals show</code> shows it on a terminal.
        </p>
      </div>
    );
  }
}
