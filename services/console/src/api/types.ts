// The API's messages as JSON, as far as the console reads them. What is zero or empty is left out; 64-bit integers and
// durations ("1.5s") are text, bytes are base64. The protos say what each field means.

export type Verdict = "approve" | "reject" | "skip" | "edit";

export interface Output {
  digest?: string;
  totalBytes?: string;
  head?: string;
  tail?: string;
  truncated?: boolean;
}

export interface FileChange {
  path: string;
  kind: string;
  oldPath?: string;
  oldMode?: number;
  newMode?: number;
  oldSize?: string;
  newSize?: string;
  binary?: boolean;
}

export interface Difference {
  changes?: FileChange[];
  changesTotal?: string;
  diff?: string;
  diffTruncated?: boolean;
}

export interface ChangedSince {
  approvalId?: string;
  attempt?: number;
  reason?: string;
  paths?: string[];
  workspace?: Difference;
  effect?: Difference;
  dropped?: Difference;
  differs?: string[];
  unavailable?: string;
}

export interface NetworkAttempt {
  host: string;
  port?: number;
  allowed?: boolean;
  reason?: string;
  detail?: string;
  sentBytes?: string;
  receivedBytes?: string;
}

export interface Effect extends Difference {
  baseTree?: string;
  resultTree?: string;
  stdout?: Output;
  stderr?: Output;
  exitCode?: number;
  signal?: number;
  usage?: { wall?: string; user?: string; system?: string; maxRssBytes?: string };
  content?: Output;
  argv?: string[];
  sandbox?: { backend?: string; enforcement?: string; fork?: string };
  requestDigest?: string;
  effectDigest?: string;
  changedSince?: ChangedSince;
  network?: { attempts?: NetworkAttempt[]; attemptsTotal?: string; refusedTotal?: string; problem?: string };
}

export interface RunCommand {
  command?: string;
  argv?: { items: string[] };
  workingDir?: string;
  env?: Record<string, string>;
  timeout?: string;
  network?: string[];
  allowedExitCodes?: number[];
  secrets?: { name: string; appearsAs: string }[];
}

export interface EditFile {
  path: string;
  newContent?: string;
  patch?: string;
  instruction?: string;
}

export interface Asking {
  instruction?: string;
  contextKeys?: string[];
}

export interface StepInput {
  readFile?: { path: string; startLine?: number; endLine?: number };
  analyze?: Asking;
  editFile?: EditFile;
  runCommand?: RunCommand;
  summarize?: Asking;
}

export interface StepSpec {
  input?: StepInput;
  name?: string;
  gate?: string;
  retries?: number;
  onFailure?: string;
}

export interface Decision {
  approve?: object;
  reject?: { action?: string };
  skip?: object;
  edit?: { input?: StepInput };
  comment?: string;
  subject?: string;
  channel?: string;
  at?: string;
  digest?: string;
  authentication?: string;
  onBehalfOf?: string;
}

export interface Ruling {
  verdict?: string;
  policies?: { name?: string; version?: string }[];
  rules?: { policy?: string; rule?: string; effect?: string; reason?: string; problem?: string; observed?: boolean }[];
  observed?: boolean;
  always?: boolean;
}

export interface Vote {
  subject: string;
  onBehalfOf?: string;
  stage?: number;
  channel?: string;
  comment?: string;
  at?: string;
}

export interface Stage {
  name?: string;
  quorum?: number;
  votes?: number;
  approvers?: string[];
}

export interface EnvelopeBounds {
  paths?: string[];
  commands?: { words: string[] }[];
  maxSteps?: number;
  maxBytes?: string;
  maxCostMicros?: string;
}

export interface Envelope {
  envelopeId: string;
  bounds?: EnvelopeBounds;
  state?: string;
  grantedBy?: string;
  comment?: string;
  grantedAt?: string;
  expiresAt?: string;
  steps?: number[];
  revokedBy?: string;
}

export interface Approval {
  approvalId: string;
  runId: string;
  step: number;
  attempt?: number;
  state: string;
  gate?: string;
  digest: string;
  goal?: string;
  workspaceId?: string;
  labels?: Record<string, string>;
  workspaceLabels?: Record<string, string>;
  spec?: StepSpec;
  preview?: Effect;
  limits?: { wall?: string; memoryBytes?: string; processes?: number; writtenBytes?: string };
  decision?: Decision;
  requestedAt?: string;
  expiresAt?: string;
  resolvedAt?: string;
  title?: string;
  supersededBy?: string;
  replaces?: string;
  gateNote?: string;
  outside?: string;
  ruling?: Ruling;
  excluded?: string[];
  editedBy?: string;
  reminders?: number;
  escalatedTo?: string[];
  votes?: Vote[];
  stages?: Stage[];
}

export interface ApprovalUpdate {
  event?: { kind: string; approval: Approval };
  cursor?: string;
  caughtUp?: boolean;
}

export interface Failure {
  reason: string;
  message?: string;
  field?: string;
  fix?: string;
  metadata?: Record<string, string>;
}

export interface Cost {
  total?: { micros?: string };
  promptTokens?: string;
  completionTokens?: string;
  modelCalls?: number;
  unpricedCalls?: number;
}

export interface ModelCall {
  purpose?: string;
  gateway?: string;
  model?: string;
  cost?: Cost;
  latency?: string;
}

export interface Step {
  runId: string;
  number: number;
  spec?: StepSpec;
  kind?: string;
  state: string;
  attempt?: number;
  gate?: string;
  approvalId?: string;
  effect?: Effect;
  reply?: string;
  modelCalls?: ModelCall[];
  failure?: Failure;
  headTree?: string;
  cost?: Cost;
  startedAt?: string;
  endedAt?: string;
  undone?: { by?: string; at?: string; runId?: string };
  inherited?: boolean;
  keptPaths?: string[];
  waited?: string;
  rulings?: Ruling[];
  envelopeId?: string;
  envelopeGrantedBy?: string;
}

export interface Run {
  runId: string;
  goal?: string;
  workspaceId?: string;
  state: string;
  pauseReason?: string;
  failure?: Failure;
  steps?: Step[];
  stepsTotal?: number;
  stepsDone?: number;
  policy?: { name?: string };
  labels?: Record<string, string>;
  cost?: Cost;
  baseTree?: string;
  headTree?: string;
  createdBy?: string;
  createdAt?: string;
  updatedAt?: string;
  waiting?: { holderRunId?: string; ahead?: number };
  envelopes?: Envelope[];
  origin?: { runId: string; atStep?: number };
  stepsUndone?: number;
}

export interface OutputChunk {
  runId: string;
  step: number;
  attempt?: number;
  stream: string;
  offset?: string;
  data?: string;
}

export interface RunUpdate {
  event?: { type: string; seq?: string };
  output?: OutputChunk;
  cursor?: string;
  run?: Run;
  step?: Step;
}

export interface Undoing extends Difference {
  run?: Run;
  keptPaths?: string[];
  merged?: boolean;
}

export interface Delegation {
  delegationId: string;
  fromSubject: string;
  toSubject: string;
  scope?: Record<string, string>;
  note?: string;
  expiresAt?: string;
  revokedAt?: string;
}

export interface Caller {
  subject: string;
  roles?: string[];
  authentication?: string;
}
