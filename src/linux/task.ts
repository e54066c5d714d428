// What Linux keeps per task beside what every kernel keeps: the fields of task_struct that block I/O looks at.

import type { Task } from '../kernel/index.ts';
import type { Bio } from './bio-struct.ts';

/** Bios in a row, through bi_next. */
export class BioList {
  head: Bio | null = null;
  tail: Bio | null = null;
}

/** `current` of Linux. */
export class LinuxTask {
  readonly task: Task;
  /** Bios that wait until the active make_request function has returned; non-null while one is active. */
  bio_list: BioList | null = null;

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
