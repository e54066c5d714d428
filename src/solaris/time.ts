// Time: timeout(9F), untimeout(9F), delay(9F), drv_usecwait(9F), drv_usectohz(9F), ddi_get_lbolt(9F). A tick is 10 ms of
// the virtual clock.

import { type NoSleep, type Sleeps, Timer } from '../kernel/index.ts';
import type { Solaris } from './kernel.ts';

/** Virtual nanoseconds of a tick: hz is 100. */
const TICK_NS = 10_000_000;
const TICK_US = TICK_NS / 1000;

/** One call of timeout() (timeout_id_t). */
export class TimeoutId {
  readonly timer: Timer;

  constructor(expire: () => NoSleep) {
    this.timer = new Timer('timeout', expire);
  }
}

export function createTime(k: Solaris) {
  return {
    /** Ticks since the system was started. Any context. */
    ddi_get_lbolt(): number {
      return Math.floor(k.scheduler.now() / TICK_NS);
    },

    /** Microseconds as ticks, rounded up. Any context. */
    drv_usectohz(microsecs: number): number {
      return Math.ceil(microsecs / TICK_US);
    },

    /** Ticks as microseconds. Any context. */
    drv_hztousec(ticks: number): number {
      return ticks * TICK_US;
    },

    /**
     * Has a function called after some ticks, one at least, in interrupt context below all devices: it must not sleep.
     * User, kernel or interrupt context.
     * @returns what untimeout() wants
     */
    timeout<A>(func: (arg: A) => NoSleep, arg: A, ticks: number): TimeoutId {
      const id = new TimeoutId(() => func(arg));
      k.scheduler.armTimer(id.timer, k.scheduler.now() + Math.max(1, ticks) * TICK_NS);
      return id;
    },

    /** Takes it back: the ticks that were left, or -1 when it was called already. User, kernel or interrupt context. */
    untimeout(id: TimeoutId): number {
      const { timer } = id;
      if (!k.scheduler.cancelTimer(timer)) return -1;
      return Math.ceil((timer.deadline - k.scheduler.now()) / TICK_NS);
    },

    /** Sleeps for some ticks. User and kernel context. */
    *delay(ticks: number): Sleeps<void> {
      yield* k.scheduler.delay(Math.max(0, ticks) * TICK_NS);
    },

    /** Lets some microseconds pass without sleeping; interrupts that are not held off are taken. Any context. */
    drv_usecwait(microsecs: number): void {
      k.scheduler.busyWait(microsecs * 1000);
    },
  };
}
