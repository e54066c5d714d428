// Plugs (block/blk-core.c of 4.8): a task that is about to submit many bios keeps its requests back for a moment, so that
// neighbours become one request and the driver is called once.

import { KernelBug, type Task } from '../kernel/index.ts';
import type { Bio } from './bio-struct.ts';
import type { Gendisk, Request, RequestQueue } from './blkdev.ts';
import { ENODEV } from './errno.ts';
import type { Linux } from './kernel.ts';
import { insertRequest } from './request-list.ts';
import type { LinuxTask } from './task.ts';

/** Requests for one queue that are kept back; the next one lets all of them go. */
export const BLK_MAX_REQUEST_COUNT = 16;

/** What a task keeps back (struct blk_plug). The caller's, used again as it likes. */
export class BlkPlug {
  readonly list: Request[] = [];
}

export function createPlug(k: Linux) {
  /** Who goes to sleep lets go: others may wait for what it keeps. */
  function beforeSleep(task: Task): void {
    const plug = (task.local as LinuxTask).plug; // the kernel made it with makeLocal
    if (plug !== null && plug.list.length > 0) flush(plug, true);
  }

  /** What it keeps would never come to the driver. */
  function beforeEnd(task: Task): void {
    if ((task.local as LinuxTask).plug !== null)
      throw new KernelBug('plug-open', 'ended without blk_finish_plug()', task.name);
  }

  function flush(plug: BlkPlug, fromSchedule: boolean): void {
    const list = plug.list.splice(0);
    list.sort((a, b) => a.q.id - b.q.id || a.__sector - b.__sector);
    for (let from = 0; from < list.length; ) {
      const q = (list[from] as Request).q; // from < length
      let to = from + 1;
      while (list[to]?.q === q) to++;
      flushQueue(q, list, from, to, fromSchedule);
      from = to;
    }
  }

  function flushQueue(
    q: RequestQueue,
    list: readonly Request[],
    from: number,
    to: number,
    fromSchedule: boolean,
  ): void {
    const flags = q.queue_lock.lockIrqSave();
    try {
      for (let i = from; i < to; i++) {
        const rq = list[i] as Request; // i < length
        if (q.dying) {
          k.request.__blk_end_request_all(rq, -ENODEV);
        } else {
          insert(q, rq);
        }
      }
      k.trace.block_unplug(q, to - from, !fromSchedule);
      k.core.__blk_run_queue(q);
    } finally {
      q.queue_lock.unlockIrqRestore(flags);
    }
  }

  /** Behind the others, or as a part of one that waits already. */
  function insert(q: RequestQueue, rq: Request): void {
    insertRequest(q, rq, false);
    k.trace.block_rq_insert(q, rq);
    if (q.nomerges) return;
    for (let other = q.head; other !== null; other = other.next) {
      if (other !== rq && k.rqMerge.attempt_merge(q, other, rq)) return;
    }
  }

  return {
    /**
     * Begins to keep the task's requests back. Inside of another plug it does nothing. Process context.
     * @throws KernelBug `plug-open` when the task ends without blk_finish_plug()
     */
    blk_start_plug(plug: BlkPlug): void {
      const task = k.current;
      if (task === null || task.plug !== null) return;
      k.scheduler.onSleep = beforeSleep;
      k.scheduler.onEnd = beforeEnd;
      plug.list.length = 0;
      task.plug = plug;
    },

    /** Lets go what was kept back, and keeps no more; for the plug that began it. */
    blk_finish_plug(plug: BlkPlug): void {
      const task = k.current;
      if (task === null || task.plug !== plug) return;
      flush(plug, false);
      task.plug = null;
    },

    /** Lets go what is kept back. */
    blk_flush_plug_list(plug: BlkPlug, from_schedule: boolean): void {
      flush(plug, from_schedule);
    },

    /** Makes the bio a part of a request that the task keeps back; true when it is. */
    blk_attempt_plug_merge(q: RequestQueue, bio: Bio, disk: Gendisk | null): boolean {
      const list = k.current?.plug?.list;
      if (list === undefined) return false;
      for (let i = list.length - 1; i >= 0; i--) {
        const rq = list[i] as Request; // i < length
        if (rq.q === q && k.rqMerge.bio_attempt_merge(q, rq, bio, disk)) return true;
      }
      return false;
    },

    /** Keeps a request of the running task back; false when it has no plug. */
    blk_plug_request(q: RequestQueue, rq: Request): boolean {
      const plug = k.current?.plug ?? null;
      if (plug === null) return false;
      let count = 0;
      for (const other of plug.list) if (other.q === q) count++;
      if (count >= BLK_MAX_REQUEST_COUNT) {
        flush(plug, false);
        count = 0;
      }
      if (count === 0) k.trace.block_plug(q);
      plug.list.push(rq);
      return true;
    },
  };
}
