// What Linux keeps per task beside what every kernel keeps: the fields of task_struct that block I/O looks at.

import type { Task } from '../kernel/index.ts';
import { BioList } from './bio-list.ts';
import type { Bio } from './bio-struct.ts';
import type { BlkPlug } from './plug.ts';

/** `current` of Linux. */
export class LinuxTask {
  readonly task: Task;
  /**
   * Bios that wait until the active make_request function has returned; non-null while one is active. With sorted
   * submission the second list holds those that waited already when the active function was called.
   */
  bio_list: readonly [BioList, BioList] | null = null;
  /** What bio_list points to while it does. */
  readonly own_lists: readonly [BioList, BioList] = [new BioList(), new BioList()];

  /** The plug that keeps the task's requests back; null: none. */
  plug: BlkPlug | null = null;

  constructor(task: Task) {
    this.task = task;
  }

  get pid(): number {
    return this.task.pid;
  }

  get comm(): string {
    return this.task.name;
  }
}

/** For a deadlock report: the bios that wait until a task's make_request function returns; null: it is under none. */
export function remarkOnTask(task: Task): string | null {
  const { bio_list } = task.local as LinuxTask; // the scheduler made it with makeLocal
  if (bio_list === null) return null;
  const waiting: string[] = [];
  for (const list of bio_list) {
    for (let bio = list.head; bio !== null; bio = bio.bi_next) waiting.push(nameOfBio(bio));
  }
  const what = waiting.length === 0 ? 'no bio waits' : `these wait: ${waiting.join('; ')}`;
  return `${task.name} (${task.pid}) is under a make_request function; until that returns ${what}`;
}

/** A bio in messages. */
export function nameOfBio(bio: Bio): string {
  const set = bio.bi_pool === null ? '' : `, of ${bio.bi_pool.name}`;
  return `the bio for ${bio.bi_bdev?.bd_name ?? 'no device'}, sector ${bio.bi_iter.bi_sector}${set}`;
}
