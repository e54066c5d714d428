// What the kernel base throws. A caller's mistake is a KernelBug with the id of the rule that it broke; a system in
// which nothing can move any more is a DeadlockError; both carry data, so a test or the fuzzer need not read messages.

/**
 * What a caller may not do: what C would make a BUG() or leave undefined. The page's documented errors are returned,
 * never thrown.
 */
export class KernelBug extends Error {
  /** Id of the rule, as in the specification or the guard's table: `PG-01`, `ctx-sleep`, `lock-order`. */
  readonly rule: string;
  /** The mistake in plain words. */
  readonly what: string;
  /** Function, lock, queue or object where it was seen; empty when the stack says it all. */
  readonly where: string;

  constructor(rule: string, what: string, where = '') {
    super(where === '' ? `${rule}: ${what}` : `${rule}: ${what} (${where})`);
    this.name = 'KernelBug';
    this.rule = rule;
    this.what = what;
    this.where = where;
  }
}

/** One task that sleeps with nothing left that could wake it. */
export interface BlockedTask {
  readonly pid: number;
  readonly name: string;
  /** Name of the wait queue. */
  readonly queue: string;
  /** What it waits for, in the sleeper's words. */
  readonly what: string;
  /** Virtual time in nanoseconds since when it waits. */
  readonly since: number;
  /** Who could wake it: the holder of the lock, or what the queue says about itself; null when unknown. */
  readonly wakers: string | null;
  /** pid of the task that owns what it waits for, when that is a task. */
  readonly owner: number | null;
  /** True when it wakes now and then only to look again (a memory pool polls every 5 s) and never found anything. */
  readonly polls: boolean;
}

export interface DeadlockReport {
  /** `deadlock`: nothing is runnable and nothing will be. `livelock`: tasks only yield to each other. */
  readonly kind: 'deadlock' | 'livelock';
  /** Virtual time in nanoseconds at which it was found. */
  readonly now: number;
  readonly tasks: readonly BlockedTask[];
  /** Names of tasks that wait for each other in a circle, the first repeated at the end; empty when there is none. */
  readonly cycle: readonly string[];
  /** What else may explain it: an interrupt line that is switched off or stuck, what a blocked task keeps to itself. */
  readonly notes: readonly string[];
}

/** No task can run and nothing that is pending can change that. */
export class DeadlockError extends Error {
  readonly report: DeadlockReport;

  constructor(report: DeadlockReport) {
    super(describeDeadlock(report));
    this.name = 'DeadlockError';
    this.report = report;
  }
}

/** A plain function met a medium that needs the host's event loop. Nothing is lost: `runAsync()` continues from here. */
export class AsyncMediaError extends Error {
  constructor(where: string, advice: string) {
    super(`${where}: the medium is asynchronous, ${advice}`);
    this.name = 'AsyncMediaError';
  }
}

/** The report as text, one line a task. */
export function describeDeadlock(report: DeadlockReport): string {
  const lines = [`${report.kind} at ${report.now} ns`];
  for (const task of report.tasks) {
    const polls = task.polls ? ', wakes only to poll' : '';
    const wakers = task.wakers === null ? '' : `, to be woken by ${task.wakers}`;
    const where = task.queue === task.what ? '' : ` on ${task.queue}`;
    lines.push(
      `  ${task.name} (${task.pid}) waits for ${task.what}${where} since ${task.since} ns${polls}${wakers}`,
    );
  }
  if (report.cycle.length > 0) lines.push(`  circle: ${report.cycle.join(' -> ')}`);
  for (const note of report.notes) lines.push(`  note: ${note}`);
  return lines.join('\n');
}
