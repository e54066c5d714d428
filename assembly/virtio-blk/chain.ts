// Descriptor chains ([1] 2.7.5, 2.8.5; references in state.ts): from the ring into the segments of a slot. Every
// descriptor is fetched once; every walk has a bound.
import { DMA_OK } from '../bus/codes';
import { dmaFetch } from '../bus/dma';
import { guardLoop } from '../bus/guard';
import {
  DESC_BYTES,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  DESC_FLAGS,
  DESC_LENGTH,
  DESC_NEXT,
  PACKED_FLAGS,
  PACKED_ID,
  VIRTIO_F_INDIRECT_DESC,
} from './regs';
import {
  descScratch,
  isPacked,
  Queue,
  SEGMENT_LENGTH,
  Slot,
  segmentAt,
  VirtioBlk,
  WINDOW,
  windowScratch,
} from './state';

/** Reads the chain of a split queue that begins at descriptor `head`; false: the driver must reset the device. */
export function readSplitChain(d: VirtioBlk, q: Queue, s: Slot, head: u32): bool {
  const entry = descScratch(d);
  let i = head;
  for (let n: u32 = 0; n < q.size; n++) {
    if (i >= q.size) return false;
    if (dmaFetch(d, q.desc + i * DESC_BYTES, entry, DESC_BYTES) != DMA_OK) return false;
    const flags: u32 = load<u16>(entry, DESC_FLAGS);
    if ((flags & DESC_F_INDIRECT) != 0) {
      // Whether it says that it may be written does not count ([1] 2.7.5.3.2).
      if ((flags & DESC_F_NEXT) != 0) return false;
      return readTable(d, s, load<u64>(entry), load<u32>(entry, DESC_LENGTH)) && isWhole(s);
    }
    if (!addSegment(d, s, entry, flags)) return false;
    if ((flags & DESC_F_NEXT) == 0) return isWhole(s);
    i = load<u16>(entry, DESC_NEXT);
  }
  guardLoop(d, q.desc + i * DESC_BYTES);
  return false;
}

/**
 * Reads the chain of a packed queue whose first descriptor, number `q.next`, is in the scratch memory; `s.descriptors`
 * says then how many it has in the ring, and `s.head` its buffer id.
 */
export function readPackedChain(d: VirtioBlk, q: Queue, s: Slot): bool {
  const entry = descScratch(d);
  let i = q.next;
  for (let n: u32 = 1; n <= q.size; n++) {
    const flags: u32 = load<u16>(entry, PACKED_FLAGS);
    s.descriptors = n;
    s.head = load<u16>(entry, PACKED_ID);
    if ((flags & DESC_F_INDIRECT) != 0) {
      if ((flags & DESC_F_NEXT) != 0) return false;
      return readTable(d, s, load<u64>(entry), load<u32>(entry, DESC_LENGTH)) && isWhole(s);
    }
    if (!addSegment(d, s, entry, flags)) return false;
    if ((flags & DESC_F_NEXT) == 0) return isWhole(s);
    i = i + 1 == q.size ? 0 : i + 1;
    if (dmaFetch(d, q.desc + i * DESC_BYTES, entry, DESC_BYTES) != DMA_OK) return false;
  }
  guardLoop(d, q.desc + i * DESC_BYTES);
  return false;
}

/**
 * An indirect table ([1] 2.7.5.3, 2.8.7): split ones are chained by numbers inside the table, packed ones end with
 * it. The table is fetched in windows, from the descriptor that is wanted on.
 */
function readTable(d: VirtioBlk, s: Slot, table: u64, bytes: u32): bool {
  if ((d.accepted & VIRTIO_F_INDIRECT_DESC) == 0) return false;
  if (bytes == 0 || (bytes & (DESC_BYTES - 1)) != 0) return false;
  const count = bytes / DESC_BYTES;
  const packed = isPacked(d);
  let first: u32 = 0;
  let held: u32 = 0;
  let i: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    if (i >= count) return false;
    if (i - first >= held) {
      first = i;
      held = min(WINDOW, count - i);
      if (dmaFetch(d, table + <u64>i * DESC_BYTES, windowScratch(d), held * DESC_BYTES) != DMA_OK)
        return false;
    }
    const entry = windowScratch(d) + (i - first) * DESC_BYTES;
    const flags: u32 = packed ? load<u16>(entry, PACKED_FLAGS) : load<u16>(entry, DESC_FLAGS);
    if ((flags & DESC_F_INDIRECT) != 0) return false;
    if (!addSegment(d, s, entry, flags)) return false;
    if (packed) {
      i++;
    } else {
      if ((flags & DESC_F_NEXT) == 0) return true;
      i = load<u16>(entry, DESC_NEXT);
    }
  }
  if (packed) return true;
  guardLoop(d, table + <u64>i * DESC_BYTES);
  return false;
}

/** Takes a descriptor into the slot; empty ones leave no trace. What is written comes after what is read. */
function addSegment(d: VirtioBlk, s: Slot, entry: usize, flags: u32): bool {
  const address = load<u64>(entry);
  if (s.entries++ == d.chainMax) {
    guardLoop(d, address);
    return false;
  }
  const length = load<u32>(entry, DESC_LENGTH);
  if ((flags & DESC_F_WRITE) != 0) s.writeBytes += length;
  else {
    if (s.segments != s.readable) return false;
    s.readBytes += length;
  }
  if (length == 0) return true;
  const at = segmentAt(s, s.segments++);
  store<u64>(at, address);
  store<u32>(at, length, SEGMENT_LENGTH);
  if ((flags & DESC_F_WRITE) == 0) s.readable = s.segments;
  return true;
}

/** There is a byte for the status. */
function isWhole(s: Slot): bool {
  return s.writeBytes > 0;
}
