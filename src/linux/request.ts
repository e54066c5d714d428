// Requests (block/blk-core.c, blk-exec.c and blk-timeout.c of 4.8): how passthrough commands are executed, how a driver
// gets requests, and how they end.

import { KernelBug, type Sleeps } from '../kernel/index.ts';
import { mustCount, mustQueue, mustRequest, UINT_MAX } from './argument.ts';
import { BIO_QUIET, type Bio, REQ_NOMERGE } from './bio-struct.ts';
import {
  BLK_EH_HANDLED,
  BLK_EH_RESET_TIMER,
  BLKPREP_DEFER,
  BLKPREP_OK,
  type Gendisk,
  REQ_DONTPREP,
  REQ_FAILED,
  REQ_QUIET,
  REQ_STARTED,
  REQ_TYPE_BLOCK_PC,
  REQ_TYPE_FS,
  type Request,
  type RequestQueue,
  type RqEndIoFn,
} from './blkdev.ts';
import { EBADE, EIO, ENODATA, ENOLINK, ENOSPC, ENXIO, EREMOTEIO, ETIMEDOUT } from './errno.ts';
import type { Linux } from './kernel.ts';
import { appendTimed, insertRequest, removeRequest, removeTimed } from './request-list.ts';

/** What a failed request of a file system is called in the message. */
const ERROR_CLASSES: Readonly<Record<number, string>> = {
  [-ENOLINK]: 'recoverable transport',
  [-EREMOTEIO]: 'critical target',
  [-EBADE]: 'critical nexus',
  [-ETIMEDOUT]: 'timeout',
  [-ENOSPC]: 'critical space allocation',
  [-ENODATA]: 'critical medium',
};

export function createRequest(k: Linux) {
  // ---- time-outs

  // One timer a queue, for the request whose time ends first: arming one for each would cost as much as the request.

  function addTimer(rq: Request): void {
    const { q } = rq;
    const ns = rq.timeout === 0 ? q.rq_timeout : rq.timeout;
    if (q.rq_timed_out_fn === null || ns === 0) return;
    rq.complete = false;
    rq.deadline = k.scheduler.now() + ns;
    appendTimed(q, rq);
    if (!q.timeout.pending || rq.deadline < q.timeout.deadline) k.scheduler.armTimer(q.timeout, rq.deadline);
  }

  function delTimer(rq: Request): void {
    if (!rq.timed) return;
    const { q } = rq;
    removeTimed(q, rq);
    // A timer that nobody waits for would make time pass.
    if (q.first_timed === null) k.scheduler.cancelTimer(q.timeout);
  }

  /** Of the requests with a time limit: the first whose time is over, null when none is. */
  function overdue(q: RequestQueue, now: number): Request | null {
    for (let rq = q.first_timed; rq !== null; rq = rq.next) if (rq.deadline <= now) return rq;
    return null;
  }

  function timedOut(rq: Request): void {
    if (rq.complete) return;
    rq.complete = true;
    const result = rq.q.rq_timed_out_fn?.(rq);
    if (result === BLK_EH_HANDLED) rq.q.softirq_done_fn?.(rq);
    else if (result === BLK_EH_RESET_TIMER) addTimer(rq);
    else rq.complete = false;
  }

  // ---- the end of a request

  function endBio(rq: Request, bio: Bio, bytes: number, error: number): void {
    if (error !== 0) bio.bi_error = error;
    if ((rq.cmd_flags & REQ_QUIET) !== 0) bio.bi_flags |= 1 << BIO_QUIET;
    k.bio.bio_advance(bio, bytes);
    if (bio.bi_iter.bi_size === 0) k.bio.bio_endio(bio);
  }

  function report(rq: Request, error: number): void {
    const disk = rq.rq_disk?.disk_name ?? '?';
    const what = `${ERROR_CLASSES[error] ?? 'I/O'} error`;
    k.warnings.warn('REQ-04', what, `dev ${disk}, sector ${rq.__sector}`);
  }

  /** The last step of every request; under the lock. */
  function finish(rq: Request, error: number): void {
    const { q } = rq;
    if (rq.ref_count === 0)
      throw new KernelBug('done-twice', 'a request was completed twice', `queue ${q.id}`);
    if (rq.queued) removeRequest(q, rq);
    else if ((rq.cmd_flags & REQ_STARTED) !== 0) q.in_flight--;
    delTimer(rq);
    if ((rq.cmd_flags & REQ_DONTPREP) !== 0) unprep(q, rq);
    rq.cmd_flags &= ~REQ_STARTED;
    if (rq.end_io !== null) rq.end_io(rq, error);
    else k.core.__blk_put_request(q, rq);
  }

  function unprep(q: RequestQueue, rq: Request): void {
    rq.cmd_flags &= ~REQ_DONTPREP;
    if (q.unprep_rq_fn !== null) q.unprep_rq_fn(q, rq);
  }

  function noneLeft(pending: boolean): void {
    if (pending) throw new KernelBug('REQ-04', 'bytes are left after the end of all', 'blk_end_request_all');
  }

  const api = {
    /** Makes it a passthrough request, with an empty command. Before anything is mapped into it. */
    blk_rq_set_block_pc(rq: Request): void {
      mustRequest(rq, 'blk_rq_set_block_pc');
      rq.cmd_type = REQ_TYPE_BLOCK_PC;
      const { cmd } = rq;
      // Twice as fast as fill() for so few bytes.
      for (let i = 0; i < cmd.length; i++) cmd[i] = 0;
    },

    // ---- executing passthrough requests

    /** Inserts a request and has it started; `done` is called at its end, in any context. */
    blk_execute_rq_nowait(
      q: RequestQueue,
      bd_disk: Gendisk | null,
      rq: Request,
      at_head: boolean,
      done: RqEndIoFn | null,
    ): void {
      mustRequest(rq, 'blk_execute_rq_nowait');
      if (rq.cmd_type === REQ_TYPE_FS) {
        k.warnings.warn('REQ-03', 'a request of a file system', 'blk_execute_rq_nowait');
      }
      rq.rq_disk = bd_disk;
      rq.end_io = done;
      const flags = q.queue_lock.lockIrqSave();
      try {
        if (q.dying) {
          rq.cmd_flags |= REQ_QUIET;
          rq.errors = -ENXIO;
          api.__blk_end_request_all(rq, rq.errors);
        } else {
          insertRequest(q, rq, at_head);
          k.trace.block_rq_insert(q, rq);
          k.core.__blk_run_queue(q);
        }
      } finally {
        q.queue_lock.unlockIrqRestore(flags);
      }
    },

    /** Executes a request and waits for its end. 0, or -EIO: rq.errors, rq.sense and rq.resid_len say more. */
    *blk_execute_rq(q: RequestQueue, bd_disk: Gendisk | null, rq: Request, at_head: boolean): Sleeps<number> {
      mustRequest(rq, 'blk_execute_rq');
      const lent = rq.sense === null;
      if (lent) {
        rq.sense = rq.own_sense.fill(0);
        rq.sense_len = 0;
      }
      rq.wait.reset();
      api.blk_execute_rq_nowait(q, bd_disk, rq, at_head, endSync);
      if (!rq.wait.tryWait()) yield* rq.wait.wait();
      if (lent) {
        rq.sense = null;
        rq.sense_len = 0;
      }
      return rq.errors === 0 ? 0 : -EIO;
    },

    // ---- the driver's side; under the lock

    /** The next request, prepared but not started; null when there is none. */
    blk_peek_request(q: RequestQueue): Request | null {
      mustQueue(q, 'blk_peek_request');
      for (let rq = q.head; rq !== null; rq = q.head) {
        if ((rq.cmd_flags & REQ_STARTED) === 0) {
          rq.cmd_flags |= REQ_STARTED;
          k.trace.block_rq_issue(q, rq);
        }
        if ((rq.cmd_flags & REQ_DONTPREP) !== 0) return rq;
        const drain = q.dma_drain_size > 0 && rq.__data_len > 0;
        if (drain) rq.nr_phys_segments++;
        const result = q.prep_rq_fn === null ? BLKPREP_OK : q.prep_rq_fn(q, rq);
        if (result === BLKPREP_OK) {
          rq.cmd_flags |= REQ_DONTPREP;
          return rq;
        }
        if (result === BLKPREP_DEFER) {
          if (drain) rq.nr_phys_segments--;
          return null;
        }
        rq.cmd_flags |= REQ_QUIET;
        api.blk_start_request(rq);
        api.__blk_end_request_all(rq, -EIO);
      }
      return null;
    },

    /** Takes the request out of the queue and starts its timer. */
    blk_start_request(rq: Request): void {
      mustRequest(rq, 'blk_start_request');
      removeRequest(rq.q, rq);
      rq.q.in_flight++;
      rq.resid_len = rq.__data_len;
      addTimer(rq);
    },

    /** The next request, started; null when there is none. */
    blk_fetch_request(q: RequestQueue): Request | null {
      const rq = api.blk_peek_request(q);
      if (rq !== null) api.blk_start_request(rq);
      return rq;
    },

    /** Puts a started request back, in front of the others. It grows no more: the driver may have prepared it. */
    blk_requeue_request(q: RequestQueue, rq: Request): void {
      mustRequest(rq, 'blk_requeue_request');
      delTimer(rq);
      rq.complete = false;
      k.trace.block_rq_requeue(q, rq);
      rq.cmd_flags = (rq.cmd_flags & ~REQ_STARTED) | REQ_NOMERGE;
      q.in_flight--;
      insertRequest(q, rq, true);
    },

    /** `fn` ends the requests that blk_complete_request() is called for. */
    blk_queue_softirq_done(q: RequestQueue, fn: RequestQueue['softirq_done_fn']): void {
      q.softirq_done_fn = fn;
    },

    /**
     * The hardware is through with a request: the queue's softirq_done_fn ends it, once, even if it times out at the
     * same moment. Any context.
     */
    blk_complete_request(rq: Request): void {
      mustRequest(rq, 'blk_complete_request');
      if (rq.complete) return;
      rq.complete = true;
      rq.q.softirq_done_fn?.(rq);
    },

    /** The queue's timer: the time of some started requests is over. In interrupt context. */
    blk_rq_timed_out_timer(q: RequestQueue): void {
      const now = k.scheduler.now();
      for (let rq = overdue(q, now); rq !== null; rq = overdue(q, now)) {
        removeTimed(q, rq);
        timedOut(rq);
      }
      let next = Number.POSITIVE_INFINITY;
      for (let rq = q.first_timed; rq !== null; rq = rq.next) next = Math.min(next, rq.deadline);
      if (next !== Number.POSITIVE_INFINITY) k.scheduler.armTimer(q.timeout, next);
    },

    // ---- the end

    /**
     * Ends `nr_bytes` bytes of a request: its bios, in order, with `error` (0 or -errno). True while bytes remain.
     */
    blk_update_request(rq: Request, error: number, nr_bytes: number): boolean {
      mustCount(nr_bytes, 'the number of bytes', 'blk_update_request', UINT_MAX);
      mustRequest(rq, 'blk_update_request');
      k.trace.block_rq_complete(rq.q, rq, nr_bytes);
      if (rq.bio === null) return false;
      if (rq.cmd_type === REQ_TYPE_FS) rq.errors = 0;
      if (error !== 0 && rq.cmd_type === REQ_TYPE_FS && (rq.cmd_flags & REQ_QUIET) === 0) report(rq, error);
      if (error !== 0) rq.cmd_flags |= REQ_FAILED;
      let total = 0;
      for (let bio: Bio | null = rq.bio; bio !== null; bio = rq.bio) {
        const bytes = Math.min(bio.bi_iter.bi_size, nr_bytes);
        if (bytes === bio.bi_iter.bi_size) {
          rq.bio = bio.bi_next;
          // Its owner may submit it again; who mapped a passthrough request goes along its bios once more.
          if (rq.cmd_type === REQ_TYPE_FS) bio.bi_next = null;
        }
        endBio(rq, bio, bytes, error);
        total += bytes;
        nr_bytes -= bytes;
        if (nr_bytes === 0) break;
      }
      if (rq.bio === null) {
        rq.biotail = null;
        rq.__data_len = 0;
        return false;
      }
      rq.__data_len = Math.max(rq.__data_len - total, rq.bio.bi_iter.bi_size);
      if (rq.cmd_type === REQ_TYPE_FS) rq.__sector += total / 512;
      k.merge.blk_recalc_rq_segments(rq);
      return true;
    },

    /** As blk_update_request(), and gives the request up with its last byte. Any context, the lock not held. */
    blk_end_request(rq: Request, error: number, nr_bytes: number): boolean {
      if (api.blk_update_request(rq, error, nr_bytes)) return true;
      const { q } = rq;
      const flags = q.queue_lock.lockIrqSave();
      try {
        finish(rq, error);
      } finally {
        q.queue_lock.unlockIrqRestore(flags);
      }
      return false;
    },

    /** blk_end_request() where the lock of the queue is held. */
    __blk_end_request(rq: Request, error: number, nr_bytes: number): boolean {
      if (api.blk_update_request(rq, error, nr_bytes)) return true;
      finish(rq, error);
      return false;
    },

    /** Ends a whole request. */
    blk_end_request_all(rq: Request, error: number): void {
      mustRequest(rq, 'blk_end_request_all');
      noneLeft(api.blk_end_request(rq, error, rq.__data_len));
    },

    /** blk_end_request_all() where the lock of the queue is held. */
    __blk_end_request_all(rq: Request, error: number): void {
      mustRequest(rq, '__blk_end_request_all');
      noneLeft(api.__blk_end_request(rq, error, rq.__data_len));
    },

    /** Ends the rest of the request's first bio; true while others remain. */
    blk_end_request_cur(rq: Request, error: number): boolean {
      mustRequest(rq, 'blk_end_request_cur');
      return api.blk_end_request(rq, error, api.blk_rq_cur_bytes(rq));
    },

    // ---- looking inside

    /** Bytes that are still to be done. */
    blk_rq_bytes(rq: Request): number {
      return rq.__data_len;
    },

    /** Sectors of 512 bytes that are still to be done. */
    blk_rq_sectors(rq: Request): number {
      return Math.floor(rq.__data_len / 512);
    },

    /** First sector; -1 for a passthrough request. */
    blk_rq_pos(rq: Request): number {
      return rq.__sector;
    },

    /** Bytes left in the first bio's current vec (whole bio where it has none). */
    blk_rq_cur_bytes(rq: Request): number {
      const { bio } = rq;
      if (bio === null) return 0;
      const vec = bio.bi_io_vec?.[bio.bi_iter.bi_idx];
      const { bi_size, bi_bvec_done } = bio.bi_iter;
      return vec === undefined ? bi_size : Math.min(bi_size, vec.bv_len - bi_bvec_done);
    },
  };
  return api;
}

function endSync(rq: Request): void {
  rq.wait.complete();
}
