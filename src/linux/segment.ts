// What counting, mapping and cutting segments share: where memory is, and where the device wants it cut.

import type { BioVec } from './bio-struct.ts';
import type { QueueLimits } from './blkdev.ts';

/** Physical address of a vec's first byte. */
export function startOf(vec: BioVec): number {
  return vec.bv_page === null ? 0 : vec.bv_page.phys + vec.bv_offset;
}

/** True when no multiple of `mask` + 1 lies between the two addresses. */
export function sameWindow(first: number, last: number, mask: number): boolean {
  const unit = mask + 1;
  return Math.floor(first / unit) === Math.floor(last / unit);
}

/** First address behind `address` that is a multiple of `mask` + 1. */
export function windowEnd(address: number, mask: number): number {
  const unit = mask + 1;
  return (Math.floor(address / unit) + 1) * unit;
}

/** Sectors that a read or write from `sector` on may have. */
export function maxSectorsAt(limits: QueueLimits, sector: number): number {
  if (limits.chunk_sectors === 0) return limits.max_sectors;
  return Math.min(limits.max_sectors, limits.chunk_sectors - (sector % limits.chunk_sectors));
}
