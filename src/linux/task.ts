// What Linux keeps per task beside what every kernel keeps: the fields of task_struct that block I/O looks at.

import type { Task } from '../kernel/index.ts';
import { BioList } from './bio-list.ts';
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
