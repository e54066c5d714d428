// Queues (block/blk-core.c of 4.8): how they begin and end, where their requests come from, and how bios become requests.
// There is no elevator: a request waits in the order of its arrival.
//
// q.queue_lock guards the list of waiting requests and is held, with interrupts off, while request_fn runs. A function
// whose name begins with `__blk_` expects it held.

import {
  Completion,
  KernelBug,
  type SleepOptions,
  type Sleeps,
  SpinLock,
  Timer,
  WaitQueue,
} from '../kernel/index.ts';
import { mustQueue, mustRequest } from './argument.ts';
import { BIO_POOL_SIZE } from './bio-set.ts';
import { type Bio, READ, REQ_NOMERGE, REQ_OP_READ, REQ_SYNC, WRITE } from './bio-struct.ts';
import {
  DiskDevice,
  type Gendisk,
  REQ_TYPE_BLOCK_PC,
  Request,
  type RequestFn,
  RequestQueue,
} from './blkdev.ts';
import { ENODEV, ENOMEM, type ErrPtr, IS_ERR } from './errno.ts';
import { GFP_KERNEL, gfpflags_allow_blocking } from './gfp.ts';
import type { Linux } from './kernel.ts';
import { panic } from './panic.ts';
import { insertRequest } from './request-list.ts';

/** A passthrough request has no place on the disk. */
const NO_SECTOR = -1;

const FOR_REQUEST: SleepOptions = { what: 'a free request' };
const FOR_DRAIN: SleepOptions = { what: 'the requests of a dying queue' };

export function createBlkCore(k: Linux) {
  let lastQueue = 0;

  // ---- the requests of a queue

  function makeRequest(q: RequestQueue): Request {
    const rq = new Request(q, new Completion(k.scheduler, `request on queue ${q.id}`));
    rq.wait.queue.wakers = () => `the driver, which has ${rq.queued ? 'not taken' : 'started'} it`;
    return rq;
  }

  /** A clean request with one reference; null when all of its class are in use. */
  function take(q: RequestQueue, sync: 0 | 1): Request | null {
    if (q.rl.count[sync] >= q.nr_requests) return null;
    q.rl.count[sync]++;
    const rq = q.free_requests ?? makeRequest(q);
    q.free_requests = rq.next;
    rq.next = null;
    rq.ref_count = 1;
    rq.sync = sync;
    return rq;
  }

  /** Puts a request back as it is to be found. */
  /** Nobody has looked at how much of a command was done. */
  function tellShort({ rq_disk, resid, cmd, op }: Request): void {
    const name = rq_disk?.disk_name ?? 'a device';
    k.machine.guard.report({
      rule: 'done-short',
      message: `${name}: command 0x${(cmd[0] ?? 0).toString(16)} left ${resid} bytes, and nobody has looked at resid_len`,
      device: rq_disk?.disk_name ?? null,
      length: resid,
      direction: op === REQ_OP_READ ? 'write' : 'read',
    });
  }

  function release(q: RequestQueue, rq: Request): void {
    if (!rq.residSeen && rq.cmd_type === REQ_TYPE_BLOCK_PC && rq.errors === 0) tellShort(rq);
    rq.reset();
    rq.next = q.free_requests;
    q.free_requests = rq;
    const sync = rq.sync;
    q.rl.count[sync]--;
    k.scheduler.wakeOne(q.rl.wait[sync]);
    if (q.dying && q.rl.count[0] + q.rl.count[1] === 0) k.scheduler.wakeAll(q.drained);
  }

  /** get_request() as far as it goes without sleeping; null: no request is free. */
  function tryGet(q: RequestQueue, rw: number, sync: 0 | 1, bio: Bio | null): ErrPtr<Request> | null {
    if (q.dying) return -ENODEV;
    const rq = take(q, sync);
    if (rq !== null) k.trace.block_getrq(q, bio, rw);
    return rq;
  }

  function* waitGet(q: RequestQueue, rw: number, sync: 0 | 1, bio: Bio | null): Sleeps<ErrPtr<Request>> {
    for (;;) {
      k.trace.block_sleeprq(q, bio, rw);
      yield k.scheduler.park(q.rl.wait[sync], FOR_REQUEST);
      const rq = tryGet(q, rw, sync, bio);
      if (rq !== null) return rq;
    }
  }

  function asEmpty(rq: ErrPtr<Request>, rw: number): ErrPtr<Request> {
    if (IS_ERR(rq)) return rq;
    rq.op = rw;
    rq.__sector = NO_SECTOR;
    return rq;
  }

  function* waitForEmpty(q: RequestQueue, rw: number, sync: 0 | 1): Sleeps<ErrPtr<Request>> {
    return asEmpty(yield* waitGet(q, rw, sync, null), rw);
  }

  // ---- bios become requests

  /** make_request_fn of a queue that has requests. */
  function blk_queue_bio(queue: RequestQueue, bio: Bio): Sleeps<void> {
    if (k.split.bio_split_point(queue, bio) > 0 || k.bounce.bounce_needed(queue, bio))
      return fitAndQueue(queue, bio);
    return queueFitting(queue, bio) ? k.ready.with(undefined, 'blk_queue_bio') : waitAndQueue(queue, bio);
  }

  function* fitAndQueue(queue: RequestQueue, bio: Bio): Sleeps<void> {
    // Cut before bounced: a bounce clone has no more vecs than a set's bio can have.
    const piece = yield* k.split.blk_queue_split(queue, bio);
    const fits = yield* k.bounce.blk_queue_bounce(queue, piece);
    if (!queueFitting(queue, fits)) yield* waitAndQueue(queue, fits);
  }

  function* waitAndQueue(queue: RequestQueue, bio: Bio): Sleeps<void> {
    const rw = directionOf(bio);
    queueAs(queue, bio, yield* waitGet(queue, rw, classOf(bio, rw), bio));
  }

  function directionOf(bio: Bio): number {
    return bio.bi_op === REQ_OP_READ ? READ : WRITE;
  }

  /** Index into RequestQueue.rl. */
  function classOf(bio: Bio, rw: number): 0 | 1 {
    return rw === READ || (bio.bi_opf & REQ_SYNC) !== 0 ? 1 : 0;
  }

  /** Queues a bio that the device takes as it is; false when it has to wait for a request. */
  function queueFitting(queue: RequestQueue, bio: Bio): boolean {
    if (mergeBio(queue, bio, diskOf(bio))) return true;
    const rw = directionOf(bio);
    const rq = tryGet(queue, rw, classOf(bio, rw), bio);
    if (rq === null) return false;
    queueAs(queue, bio, rq);
    return true;
  }

  /** Makes the bio a request; an errno instead of one ends it. */
  function queueAs(queue: RequestQueue, fits: Bio, rq: ErrPtr<Request>): void {
    if (IS_ERR(rq)) {
      fits.bi_error = rq;
      k.bio.bio_endio(fits);
      return;
    }
    rq.cmd_flags |= fits.bi_opf;
    rq.__sector = fits.bi_iter.bi_sector;
    rq.rq_disk = diskOf(fits);
    k.merge.blk_rq_bio_prep(queue, rq, fits);
    if (k.plug.blk_plug_request(queue, rq)) return;
    const flags = queue.queue_lock.lockIrqSave();
    try {
      insertRequest(queue, rq, false);
      k.trace.block_rq_insert(queue, rq);
      api.__blk_run_queue(queue);
    } finally {
      queue.queue_lock.unlockIrqRestore(flags);
    }
  }

  /** True when the bio became a part of a request that has not gone to the driver yet. */
  function mergeBio(q: RequestQueue, bio: Bio, disk: Gendisk | null): boolean {
    if (q.nomerges || (bio.bi_opf & REQ_NOMERGE) !== 0) return false;
    if (k.plug.blk_attempt_plug_merge(q, bio, disk)) return true;
    if (q.tail === null) return false;
    const flags = q.queue_lock.lockIrqSave();
    const merged = k.rqMerge.elv_merge(q, bio, disk);
    q.queue_lock.unlockIrqRestore(flags);
    return merged;
  }

  const api = {
    // ---- queues

    /** Makes a queue without any function yet. */
    blk_alloc_queue(_gfp: number): RequestQueue {
      const id = ++lastQueue;
      const wait = [
        new WaitQueue(`requests of queue ${id}`),
        new WaitQueue(`sync requests of queue ${id}`),
      ] as const;
      const q = new RequestQueue({
        id,
        queue_lock: new SpinLock(k.cpu, `queue_lock ${id}`),
        rl: { count: [0, 0], wait },
        drained: new WaitQueue(`end of queue ${id}`),
        makeTimer: (queue) =>
          new Timer(`time-outs of queue ${id}`, () => k.request.blk_rq_timed_out_timer(queue)),
        bio_split: k.bioSet.bioset_create(BIO_POOL_SIZE, 0) ?? panic('bio_split'),
      });
      for (const queue of wait) queue.wakers = () => `who ends one of ${q.nr_requests} requests`;
      return q;
    },

    /** Makes a queue whose requests `rfn` handles. It has a lock of its own. */
    blk_init_queue(rfn: RequestFn): RequestQueue {
      const q = api.blk_alloc_queue(GFP_KERNEL);
      q.request_fn = rfn;
      k.settings.blk_queue_make_request(q, blk_queue_bio);
      return q;
    },

    /** Ends a queue: from now on nobody gets a request, and those that are out are waited for. */
    *blk_cleanup_queue(q: RequestQueue): Sleeps<void> {
      mustQueue(q, 'blk_cleanup_queue');
      k.scheduler.mightSleep('blk_cleanup_queue');
      q.dying = true;
      for (const wait of q.rl.wait) k.scheduler.wakeAll(wait);
      q.drained.wakers = () => `the end of ${q.rl.count[0] + q.rl.count[1]} requests`;
      while (q.rl.count[0] + q.rl.count[1] > 0) {
        api.blk_run_queue(q);
        if (q.rl.count[0] + q.rl.count[1] > 0) yield k.scheduler.park(q.drained, FOR_DRAIN);
      }
    },

    /** Has the driver look at the queue. */
    blk_run_queue(q: RequestQueue): void {
      mustQueue(q, 'blk_run_queue');
      const flags = q.queue_lock.lockIrqSave();
      try {
        api.__blk_run_queue(q);
      } finally {
        q.queue_lock.unlockIrqRestore(flags);
      }
    },

    /** blk_run_queue() where the lock of the queue is held. */
    __blk_run_queue(q: RequestQueue): void {
      if (!q.stopped && q.request_fn !== null) q.request_fn(q);
    },

    /** Keeps request_fn from being called until blk_start_queue(). */
    blk_stop_queue(q: RequestQueue): void {
      q.stopped = true;
    },

    /** Under the lock. */
    blk_start_queue(q: RequestQueue): void {
      q.stopped = false;
      api.__blk_run_queue(q);
    },

    // ---- getting and putting

    /**
     * A free request; -ENODEV on a dying queue, -ENOMEM when there is none and `gfp` doesn't let it wait.
     * @throws KernelBug REQ-01 when rw is neither READ nor WRITE
     */
    blk_get_request(q: RequestQueue, rw: number, gfp: number): Sleeps<ErrPtr<Request>> {
      mustQueue(q, 'blk_get_request');
      if (rw !== READ && rw !== WRITE) {
        throw new KernelBug('REQ-01', `rw is ${rw}, neither READ nor WRITE`, 'blk_get_request');
      }
      const sync = rw === READ ? 1 : 0;
      const may = gfpflags_allow_blocking(gfp);
      if (may) k.cpu.mightSleep('blk_get_request');
      const rq = tryGet(q, rw, sync, null) ?? (may ? null : -ENOMEM);
      return rq === null ? waitForEmpty(q, rw, sync) : k.ready.with(asEmpty(rq, rw), 'blk_get_request');
    },

    /** Gives a request back; any context, the lock not held. */
    blk_put_request(rq: Request): void {
      mustRequest(rq, 'blk_put_request');
      const { q } = rq;
      const flags = q.queue_lock.lockIrqSave();
      try {
        api.__blk_put_request(q, rq);
      } finally {
        q.queue_lock.unlockIrqRestore(flags);
      }
    },

    /** @throws KernelBug REQ-05 when it is not out */
    __blk_put_request(q: RequestQueue, rq: Request): void {
      if (rq.ref_count === 0) throw new KernelBug('REQ-05', 'a request was put twice', `queue ${q.id}`);
      if (--rq.ref_count > 0) return;
      if (rq.bio !== null) k.warnings.warn('REQ-05', 'bio leak: put with its bio', `queue ${q.id}`);
      release(q, rq);
    },
  };
  return api;
}

/** The disk of the whole device that a bio is for. */
function diskOf(bio: Bio): Gendisk | null {
  const whole = bio.bi_bdev?.bd_contains;
  return whole instanceof DiskDevice ? whole.bd_disk : null;
}
