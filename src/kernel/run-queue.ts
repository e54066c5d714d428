// The runnable tasks: a ring, first in first out, or with a seed any of them next.

import type { Random } from './random.ts';
import type { Task } from './task.ts';

export class RunQueue {
  private readonly chooser: Random | null;
  private ring: (Task | null)[] = new Array<Task | null>(16).fill(null);
  private first = 0;
  private count = 0;

  /** @param chooser picks the next task; null: the one that waits longest */
  constructor(chooser: Random | null) {
    this.chooser = chooser;
  }

  push(task: Task): void {
    if (this.count === this.ring.length) this.grow();
    this.ring[(this.first + this.count) & (this.ring.length - 1)] = task;
    this.count++;
  }

  /** Takes the next task; null when none is runnable. */
  take(): Task | null {
    if (this.count === 0) return null;
    const mask = this.ring.length - 1;
    const task = this.ring[this.first] as Task; // the queue is not empty
    this.ring[this.first] = null;
    let chosen = task;
    if (this.chooser !== null && this.count > 1) {
      const slot = (this.first + this.chooser.below(this.count)) & mask;
      if (slot !== this.first) {
        chosen = this.ring[slot] as Task;
        this.ring[slot] = task;
      }
    }
    this.first = (this.first + 1) & mask;
    this.count--;
    return chosen;
  }

  private grow(): void {
    const size = this.ring.length;
    const ring = new Array<Task | null>(size * 2).fill(null);
    for (let i = 0; i < this.count; i++) ring[i] = this.ring[(this.first + i) & (size - 1)] ?? null;
    this.ring = ring;
    this.first = 0;
  }
}
