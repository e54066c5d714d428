// Threads of a driver that do what interrupts may not (taskq(9F)).

import { KernelBug, type Sleeps, WaitQueue } from '../kernel/index.ts';
import type { DevInfo } from './dev-info.ts';
import { DDI_FAILURE, DDI_SUCCESS } from './dma-attr.ts';
import type { Solaris } from './kernel.ts';
import { KM_NOSLEEP, KM_SLEEP } from './kmem.ts';

export const TASKQ_DEFAULTPRI = -1;
/** How ddi_taskq_dispatch() may get memory. */
export const DDI_SLEEP = 0;
export const DDI_NOSLEEP = 1;

/** ddi_taskq_t. */
export class DdiTaskq {
  readonly name: string;
  readonly list: (() => Sleeps<void>)[] = [];
  readonly idle: WaitQueue;
  readonly drained: WaitQueue;
  /** Functions that run now. */
  running = 0;
  suspended = false;
  destroyed = false;

  constructor(name: string) {
    this.name = name;
    this.idle = new WaitQueue(`${name}: idle`);
    this.drained = new WaitQueue(`${name}: wait`);
    this.drained.wakers = () => `the threads of ${name}`;
  }
}

export function createTaskq(k: Solaris) {
  const { scheduler } = k;

  function* serve(tq: DdiTaskq): Sleeps<void> {
    for (;;) {
      const next = tq.suspended ? undefined : tq.list.shift();
      if (next !== undefined) {
        tq.running++;
        k.kmem.kmem_give('taskq');
        yield* next();
        tq.running--;
        scheduler.wakeAll(tq.drained);
      } else if (tq.destroyed) {
        return;
      } else {
        yield scheduler.park(tq.idle, { what: 'work', idle: true });
      }
    }
  }

  function* drain(tq: DdiTaskq): Sleeps<void> {
    k.mightSleep(tq.name);
    while (tq.list.length > 0 || tq.running > 0)
      yield* scheduler.sleep(tq.drained, { what: `work of ${tq.name}` });
  }

  function must(tq: DdiTaskq, where: string): void {
    if (tq.destroyed) throw new KernelBug('taskq', 'used after ddi_taskq_destroy()', where);
  }

  return {
    /**
     * Makes a queue of work with threads of its own. User or kernel context.
     * @param nthreads with one, work is done in order
     * @param _pri TASKQ_DEFAULTPRI
     */
    ddi_taskq_create(
      _dip: DevInfo | null,
      name: string,
      nthreads: number,
      _pri: number,
      _cflags: number,
    ): DdiTaskq {
      const tq = new DdiTaskq(name);
      for (let i = 0; i < nthreads; i++) scheduler.spawn(name, () => serve(tq), { kthread: true });
      return tq;
    },

    /**
     * Has a thread call a function, which may sleep. Sleeps only with DDI_SLEEP; with DDI_NOSLEEP any context but
     * high-level interrupts.
     * @returns DDI_SUCCESS; DDI_FAILURE when there is no memory, with DDI_NOSLEEP alone
     * @throws KernelBug `taskq` after ddi_taskq_destroy()
     */
    *ddi_taskq_dispatch<A>(
      tq: DdiTaskq,
      func: (arg: A) => Sleeps<void>,
      arg: A,
      dflags: number,
    ): Sleeps<number> {
      must(tq, 'ddi_taskq_dispatch');
      if (!(yield* k.kmem.kmem_take('taskq', dflags === DDI_SLEEP ? KM_SLEEP : KM_NOSLEEP)))
        return DDI_FAILURE;
      tq.list.push(() => func(arg));
      scheduler.wakeOne(tq.idle);
      return DDI_SUCCESS;
    },

    /** Waits until all work is done. User and kernel context, but not the queue's own threads. */
    *ddi_taskq_wait(tq: DdiTaskq): Sleeps<void> {
      must(tq, 'ddi_taskq_wait');
      yield* drain(tq);
    },

    /** Waits until all work is done and ends the threads. User and kernel context. */
    *ddi_taskq_destroy(tq: DdiTaskq): Sleeps<void> {
      must(tq, 'ddi_taskq_destroy');
      yield* drain(tq);
      tq.destroyed = true;
      scheduler.wakeAll(tq.idle);
    },

    /** From now on nothing is begun; what runs goes on. User and kernel context. */
    ddi_taskq_suspend(tq: DdiTaskq): void {
      tq.suspended = true;
    },

    /** Goes on. User and kernel context. */
    ddi_taskq_resume(tq: DdiTaskq): void {
      tq.suspended = false;
      scheduler.wakeAll(tq.idle);
    },

    /** True between ddi_taskq_suspend() and ddi_taskq_resume(). User or kernel context. */
    ddi_taskq_suspended(tq: DdiTaskq): boolean {
      return tq.suspended;
    },
  };
}
