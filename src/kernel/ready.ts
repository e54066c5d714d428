// The result of a call that could have slept and did not. A generator costs about 60 ns even if it never yields; the
// functions that every request goes through hand out this instead:
//
//     blk_get_request(q, rw, gfp): Sleeps<ErrPtr<Request>> {
//       const rq = tryGet(q, rw);
//       return rq === null ? waitGet(q, rw) : ready.with(rq, 'blk_get_request');
//     }
//
// What can be done without sleeping is then done at the call, not at the `yield*`: for who writes `yield* call()` it is
// the same.

import { KernelBug } from './errors.ts';
import type { Sleeps } from './task.ts';

/** One object serves all calls, because `yield*` takes the value before anything else happens. */
export class Ready {
  private taken = true;
  /** The function that made the last value. */
  private where = '';
  private readonly result: { done: true; value: unknown } = { done: true, value: undefined };

  /**
   * The value of a call of `where`, for the `yield*` of the caller.
   * @throws KernelBug `sleep-forgotten` when the last one was not taken
   */
  with<T>(value: T, where: string): Sleeps<T> {
    if (!this.taken) {
      this.taken = true;
      throw new KernelBug('sleep-forgotten', 'an earlier call was made without yield*', this.where);
    }
    this.taken = false;
    this.where = where;
    this.result.value = value;
    // Everything that `yield*` asks of a generator is here.
    return this as unknown as Sleeps<T>;
  }

  /** For `yield*`. */
  next(): { done: true; value: unknown } {
    this.taken = true;
    return this.result;
  }

  [Symbol.iterator](): this {
    return this;
  }
}
