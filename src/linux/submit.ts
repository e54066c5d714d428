// Submission of bios (block/blk-core.c of 4.8): the checks, and the loop that keeps stacked drivers off the stack.

import { Completion, KernelBug, type Sleeps } from '../kernel/index.ts';
import { mustBio } from './argument.ts';
import { bio_data_dir, bio_has_data, bio_sectors } from './bio-iter.ts';
import { BioList, bio_list_add, bio_list_init, bio_list_merge, bio_list_pop } from './bio-list.ts';
import {
  BIO_TRACE_COMPLETION,
  type Bio,
  type BioQueue,
  type BlockDevice,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE_SAME,
  REQ_PREFLUSH,
  REQ_SYNC,
  WRITE,
} from './bio-struct.ts';
import { EIO, EOPNOTSUPP } from './errno.ts';
import type { Linux } from './kernel.ts';
import { type LinuxTask, nameOfBio } from './task.ts';

/** What submit_bio() has counted: the events of /proc/vmstat, in sectors of 512 bytes. */
export interface VmEvents {
  pgpgin: number;
  pgpgout: number;
}

export function createSubmit(k: Linux) {
  const vm_events: VmEvents = { pgpgin: 0, pgpgout: 0 };
  const sorted = k.options.submission === 'sorted';

  function pastEnd(bio: Bio, bdev: BlockDevice): boolean {
    const sectors = bio_sectors(bio);
    const { nr_sects } = bdev;
    return sectors > 0 && nr_sects > 0 && bio.bi_iter.bi_sector + sectors > nr_sects;
  }

  /** From the partition to its disk. A bio without sectors is for the disk anyway. */
  function remap(bio: Bio, part: BlockDevice, q: BioQueue): void {
    if (bio_sectors(bio) === 0 || part.bd_contains === part) return;
    const from = bio.bi_iter.bi_sector;
    bio.bi_iter.bi_sector += part.start_sect;
    bio.bi_bdev = part.bd_contains;
    k.trace.block_bio_remap(q, bio, part, from);
  }

  /** Why a bio cannot go to its queue: a negative errno, 0 for one that has ended well, 1 when it can. */
  function refusal(bio: Bio): number {
    const bdev = bio.bi_bdev;
    const q = bdev?.queue ?? null;
    if (bdev !== null && pastEnd(bio, bdev)) return -EIO;
    if (bdev === null || q === null) return -EIO;
    if (k.faults.make_request.shouldFail()) return -EIO;
    remap(bio, bdev, q);
    if (pastEnd(bio, bdev.bd_contains)) return -EIO;
    if ((bio.bi_opf & (REQ_PREFLUSH | REQ_FUA)) !== 0 && !q.wc) {
      bio.bi_opf &= ~(REQ_PREFLUSH | REQ_FUA);
      if (bio_sectors(bio) === 0) return 0;
    }
    if (bio.bi_op === REQ_OP_DISCARD && !q.discard) return -EOPNOTSUPP;
    if (bio.bi_op === REQ_OP_SECURE_ERASE && !q.secure_erase) return -EOPNOTSUPP;
    if (bio.bi_op === REQ_OP_WRITE_SAME && q.limits.max_write_same_sectors === 0) return -EOPNOTSUPP;
    bio.bi_flags |= 1 << BIO_TRACE_COMPLETION;
    k.trace.block_bio_queue(q, bio);
    return 1;
  }

  /** Puts what was submitted meanwhile in front of what waited before: for other queues first, then for the same. */
  function sort(now: BioList, older: BioList, q: BioQueue): void {
    const lower = new BioList();
    const same = new BioList();
    for (let bio = bio_list_pop(now); bio !== null; bio = bio_list_pop(now)) {
      bio_list_add(queueOf(bio) === q ? same : lower, bio);
    }
    bio_list_merge(now, lower);
    bio_list_merge(now, same);
    bio_list_merge(now, older);
    bio_list_init(older);
  }

  function account(bio: Bio): void {
    if (!bio_has_data(bio)) return;
    const writeSame = bio.bi_op === REQ_OP_WRITE_SAME;
    const sectors = writeSame
      ? (bio.bi_bdev?.queue?.limits.logical_block_size ?? 512) >>> 9
      : bio_sectors(bio);
    if (bio_data_dir(bio) === WRITE) vm_events.pgpgout += sectors;
    else vm_events.pgpgin += sectors;
  }

  /** Gives the bio to its queue, and then those that were submitted meanwhile to theirs. */
  function* makeRequests(task: LinuxTask, bio: Bio): Sleeps<void> {
    const [now, older] = task.own_lists;
    task.bio_list = task.own_lists;
    for (let next: Bio | null = bio; next !== null; next = bio_list_pop(now)) {
      const q = queueOf(next);
      if (sorted) {
        bio_list_merge(older, now);
        bio_list_init(now);
      }
      if (q.dying) k.bio.bio_io_error(next);
      else if (q.make_request_fn !== null) yield* q.make_request_fn(q, next);
      else throw new KernelBug('GMR-05', 'the queue has no make_request_fn', 'generic_make_request');
      if (sorted) sort(now, older, q);
    }
    task.bio_list = null;
  }

  const api = {
    /** Sectors that submit_bio() has seen. */
    vm_events,

    /**
     * Hands a bio to its device. What cannot go there is ended at once, with an error. Under a make_request function the
     * bio only waits in a list until that has returned. Hold a reference to look at the bio afterwards.
     */
    generic_make_request(bio: Bio): Sleeps<void> {
      mustBio(bio, 'generic_make_request');
      k.cpu.mightSleep('generic_make_request');
      const refused = refusal(bio);
      if (refused <= 0) {
        bio.bi_error = refused;
        k.bio.bio_endio(bio);
        return k.ready.with(undefined, 'generic_make_request');
      }
      const task = k.current;
      if (task === null) throw new KernelBug('ctx-process', 'needs process context', 'generic_make_request');
      if (task.bio_list !== null) {
        bio_list_add(task.bio_list[0], bio);
        return k.ready.with(undefined, 'generic_make_request');
      }
      if (bio.bi_next !== null) throw new KernelBug('GMR-06', 'the bio is in a list', 'generic_make_request');
      return makeRequests(task, bio);
    },

    /** generic_make_request() with accounting: for who made the bio. */
    submit_bio(bio: Bio): Sleeps<void> {
      mustBio(bio, 'submit_bio');
      account(bio);
      return api.generic_make_request(bio);
    },

    /**
     * Submits a bio, waits for its end and returns 0 or its error. Takes bi_private and bi_end_io, does not put the bio.
     * Never under a make_request function: the bio would wait for its own submitter.
     */
    *submit_bio_wait(bio: Bio): Sleeps<number> {
      mustBio(bio, 'submit_bio_wait');
      const done = new Completion(k.scheduler, 'submit_bio_wait');
      done.queue.wakers = () => `the end of ${nameOfBio(bio)}`;
      bio.bi_private = done;
      bio.bi_end_io = () => done.complete();
      bio.bi_opf |= REQ_SYNC;
      account(bio);
      yield* api.generic_make_request(bio);
      yield* done.wait();
      return bio.bi_error;
    },
  };
  return api;
}

/** The queue of a bio that passed the checks. */
function queueOf(bio: Bio): BioQueue {
  const q = bio.bi_bdev?.queue ?? null;
  if (q === null) throw new KernelBug('GMR-01', 'the queue vanished on the way', 'generic_make_request');
  return q;
}
