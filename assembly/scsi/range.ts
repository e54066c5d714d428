// What a command does to ranges of blocks, one media request after the other: the transfer itself, then the
// verify and the flush that FUA, a write-through cache or WRITE AND VERIFY ask for; the ranges of UNMAP; a
// format or a WRITE SAME in pieces that each end in reasonable time.
import { MEDIA_FLUSH, MEDIA_VERIFY, MEDIA_WRITE } from '../media/codes';
import { get32, get64 } from './bytes';
import { CACHING_WCE, CDB_FUA } from './regs';
import { AFTER_FLUSH, AFTER_VERIFY, ask, bufferOf, cdbOf, ScsiTask, succeed, unitOf } from './task';
import { unitDisk } from './unit';

/** Blocks of one media request that moves no data from the initiator: bounds what one event does. */
const PIECE_BLOCKS: u32 = 0x8000;
/** Bytes in front of, and in, the block descriptors of UNMAP (SBC-3 5.28). */
const UNMAP_HEADER: u32 = 8;
const UNMAP_STRIDE: u32 = 16;

/** Begins `operation` on `blocks` blocks in pieces. */
export function startRange(t: ScsiTask, operation: u32, lba: u64, blocks: u64): void {
  t.operation = operation;
  t.lba = lba;
  t.left = blocks;
  t.firstLba = lba;
  t.blocks = blocks;
  nextRange(t);
}

/** Begins a transfer of data from or to the initiator, in one request. */
export function startTransfer(t: ScsiTask, operation: u32, lba: u64, blocks: u32): void {
  t.operation = operation;
  t.firstLba = lba;
  t.blocks = blocks;
  t.left = 0;
  if (operation == MEDIA_WRITE) writeThrough(t, (load<u8>(cdbOf(t), 1) & CDB_FUA) != 0);
  ask(t, operation, lba, blocks);
}

/** Has a flush follow if the medium could lose the write and the initiator may not (SBC-2 5.29, FUA). */
export function writeThrough(t: ScsiTask, fua: bool): void {
  const u = unitOf(t);
  if (unitDisk(u).writeCache != 0 && (fua || (u.caching & CACHING_WCE) == 0)) t.after |= AFTER_FLUSH;
}

/** A media request has ended well: the next one, or the end. */
export function nextRange(t: ScsiTask): void {
  if (t.left > 0) {
    const piece = t.left > <u64>PIECE_BLOCKS ? PIECE_BLOCKS : <u32>t.left;
    const lba = t.lba;
    t.lba += piece;
    t.left -= piece;
    return ask(t, t.operation, lba, piece);
  }
  if (t.ranges > 0) return nextUnmapRange(t);
  if ((t.after & AFTER_VERIFY) != 0) {
    t.after &= ~AFTER_VERIFY;
    return ask(t, MEDIA_VERIFY, t.firstLba, <u32>t.blocks);
  }
  if ((t.after & AFTER_FLUSH) != 0) {
    t.after &= ~AFTER_FLUSH;
    return ask(t, MEDIA_FLUSH, 0, 0);
  }
  succeed(t);
}

/** Where the descriptor of the `i`th range of an UNMAP parameter list is. */
export function unmapRange(t: ScsiTask, i: u32): usize {
  return bufferOf(t) + UNMAP_HEADER + i * UNMAP_STRIDE;
}

/** Takes the last range that is still to do; they may come in any order. */
function nextUnmapRange(t: ScsiTask): void {
  t.ranges--;
  const at = unmapRange(t, t.ranges);
  t.lba = get64(at);
  t.left = get32(at + 8);
  nextRange(t);
}
