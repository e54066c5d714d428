// Kernel timers: a binary heap by deadline, first in first out among equals. Adding and cancelling allocate nothing.

import { KernelBug } from './errors.ts';
import type { NoSleep } from './task.ts';

/** One kernel timer (Linux: timer_list, Solaris: timeout). Reusable: arm it again after it fired or was cancelled. */
export class Timer {
  readonly name: string;
  /** Runs in interrupt context when the time has come; must not sleep. */
  readonly expire: () => NoSleep;
  /** True for a timer after which somebody only looks again; such a timer alone does not keep a deadlock alive. */
  poll = false;
  /** Virtual time in nanoseconds; meaningful while pending. */
  deadline = 0;
  /** Order of arming, breaks ties. */
  order = 0;
  /** Place in the heap; -1 while not pending. */
  slot = -1;

  constructor(name: string, expire: () => NoSleep) {
    this.name = name;
    this.expire = expire;
  }

  get pending(): boolean {
    return this.slot >= 0;
  }
}

export class TimerQueue {
  private readonly heap: Timer[] = [];
  private armed = 0;
  private polling = 0;

  /** Virtual time of the first deadline, `Infinity` when none is pending. */
  get next(): number {
    const first = this.heap[0];
    return first === undefined ? Number.POSITIVE_INFINITY : first.deadline;
  }

  /** True when a timer is pending after which something new can happen. */
  get useful(): boolean {
    return this.heap.length > this.polling;
  }

  /**
   * Arms a timer for `deadline` (virtual ns); a pending one is moved.
   * @throws KernelBug `timer-deadline` when the deadline is not a number of nanoseconds
   */
  arm(timer: Timer, deadline: number): void {
    if (!(deadline >= 0) || deadline === Number.POSITIVE_INFINITY) {
      throw new KernelBug('timer-deadline', `deadline ${deadline} is no time`, timer.name);
    }
    if (timer.slot >= 0) this.cancel(timer);
    timer.deadline = deadline;
    timer.order = this.armed++;
    if (timer.poll) this.polling++;
    this.heap.push(timer);
    this.rise(timer, this.heap.length - 1);
  }

  /** Takes a timer out; false when it was not pending. */
  cancel(timer: Timer): boolean {
    const slot = timer.slot;
    if (slot < 0) return false;
    timer.slot = -1;
    if (timer.poll) this.polling--;
    const last = this.heap.pop() as Timer; // the heap holds at least `timer`
    if (last !== timer) {
      this.rise(last, slot);
      this.sink(last, last.slot);
    }
    return true;
  }

  /** Takes out the first timer whose deadline is not after `now`; undefined when there is none. */
  takeDue(now: number): Timer | undefined {
    const first = this.heap[0];
    if (first === undefined || first.deadline > now) return undefined;
    this.cancel(first);
    return first;
  }

  private rise(timer: Timer, from: number): void {
    let slot = from;
    while (slot > 0) {
      const parentSlot = (slot - 1) >> 1;
      const parent = this.heap[parentSlot] as Timer;
      if (!before(timer, parent)) break;
      this.put(parent, slot);
      slot = parentSlot;
    }
    this.put(timer, slot);
  }

  private sink(timer: Timer, from: number): void {
    const size = this.heap.length;
    let slot = from;
    for (;;) {
      let childSlot = 2 * slot + 1;
      if (childSlot >= size) break;
      let child = this.heap[childSlot] as Timer;
      const right = this.heap[childSlot + 1];
      if (right !== undefined && before(right, child)) {
        childSlot++;
        child = right;
      }
      if (!before(child, timer)) break;
      this.put(child, slot);
      slot = childSlot;
    }
    this.put(timer, slot);
  }

  private put(timer: Timer, slot: number): void {
    this.heap[slot] = timer;
    timer.slot = slot;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
}
