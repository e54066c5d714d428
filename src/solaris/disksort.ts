// The elevator queue of a disk driver: disksort(9F).

import type { Buf } from './buf-struct.ts';

/** The head of a queue (struct diskhd). */
export class Diskhd {
  /** The first buf, which the disk has; the others follow by their av_forw. */
  av_forw: Buf | null = null;
  av_back: Buf | null = null;
}

/** b_resid is a size_t. */
function keyOf({ b_resid }: Buf): number {
  return b_resid < 0 ? b_resid + 2 ** 64 : b_resid;
}

/** SORT-03: the last of those that stand before a key in the run which begins behind `from`. */
function lastBefore(from: Buf, key: number): Buf {
  let at = from;
  for (let next = at.av_forw; next !== null; next = at.av_forw) {
    if (keyOf(next) < keyOf(at) || keyOf(next) > key) break;
    at = next;
  }
  return at;
}

/** SORT-04: the last of the ascending run that begins with `from`. */
function endOfRun(from: Buf): Buf {
  let at = from;
  for (let next = at.av_forw; next !== null && keyOf(next) >= keyOf(at); next = at.av_forw) at = next;
  return at;
}

export function createDisksort() {
  return {
    /**
     * Queues a buf for one sweep over the disk: behind the first one in ascending order of b_resid, which the driver has
     * set to the block; what lies before the first one makes a second ascending run, for the next sweep. The caller
     * holds its lock, and sets b_resid again before the transfer ends. Any context.
     */
    disksort(diskhd: Diskhd, bp: Buf): void {
      const head = diskhd.av_forw;
      if (head === null) {
        diskhd.av_forw = bp;
        diskhd.av_back = bp;
        bp.av_forw = null;
        return;
      }
      const key = keyOf(bp);
      let before: Buf;
      if (key >= keyOf(head)) before = lastBefore(head, key);
      else {
        before = endOfRun(head);
        const second = before.av_forw;
        if (second !== null && keyOf(second) <= key) before = lastBefore(second, key);
      }
      bp.av_forw = before.av_forw;
      before.av_forw = bp;
      if (diskhd.av_back === before) diskhd.av_back = bp;
    },
  };
}
