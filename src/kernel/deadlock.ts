// The report on tasks that wait for ever.

import type { BlockedTask, DeadlockReport } from './errors.ts';
import type { Task } from './task.ts';

/** Who waits for what, who could wake whom, and whether they wait for each other in a circle. */
export function findDeadlock(
  kind: DeadlockReport['kind'],
  now: number,
  tasks: Iterable<Task>,
  notes: readonly string[],
  remarkOn: ((task: Task) => string | null) | null,
): DeadlockReport {
  const blocked: Task[] = [];
  const livelocked: string[] = [];
  for (const task of tasks) {
    if (task.state === 'sleeping' && task.sleep.idle !== true) blocked.push(task);
    else if (task.state === 'runnable') livelocked.push(`${task.name} (${task.pid}) only yields`);
  }
  return {
    kind,
    now,
    tasks: blocked.map(describe),
    cycle: findCycle(blocked),
    notes: [...notes, ...livelocked, ...blocked.flatMap((task) => remarkOn?.(task) ?? [])],
  };
}

function describe(task: Task): BlockedTask {
  const owner = task.queue?.owner ?? null;
  return {
    pid: task.pid,
    name: task.name,
    queue: task.queue?.name ?? '',
    what: task.sleep.what,
    since: task.sleepingSince,
    wakers: task.queue?.wakers?.() ?? (owner === null ? null : `${owner.name} (${owner.pid})`),
    owner: owner === null ? null : owner.pid,
    polls: task.sleep.poll === true,
  };
}

/** Follows the owners of what each task waits for until one comes again. */
function findCycle(blocked: readonly Task[]): string[] {
  const cleared = new Set<Task>();
  for (const start of blocked) {
    const path: Task[] = [];
    for (
      let task: Task | null = start;
      task !== null && !cleared.has(task);
      task = task.queue?.owner ?? null
    ) {
      const begin = path.indexOf(task);
      if (begin >= 0) return [...path.slice(begin), task].map(({ name, pid }) => `${name} (${pid})`);
      path.push(task);
    }
    for (const task of path) cleared.add(task);
  }
  return [];
}
