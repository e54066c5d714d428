// A command's data pointer: PRP entries and lists ([1] 4.3), SGL descriptors ([1] 4.4; references in controller.ts). A
// walk has a budget of bytes, and fetches every entry once.
import { DMA_OK } from '../bus/codes';
import { dmaFetch } from '../bus/dma';
import { guardLoop } from '../bus/guard';
import { AT_MOVE_TO_MEMORY, AT_NOWHERE, PAGE_BYTES } from '../bus/layout';
import { moveInside, moveSegment } from '../bus/mover';
import { Command, Nvme, SCRATCH, scratchOf } from './controller';
import { isMisused } from './memory';
import {
  NVME_CMB_USE,
  NVME_CMBSZ_LISTS,
  NVME_CMBSZ_RDS,
  NVME_CMBSZ_WDS,
  NVME_DATA_TRANSFER,
  NVME_PRP_OFFSET,
  NVME_PSDT_PRP,
  NVME_SGL_BIT_BUCKET,
  NVME_SGL_BYTES,
  NVME_SGL_COUNT,
  NVME_SGL_DATA,
  NVME_SGL_LAST_SEGMENT,
  NVME_SGL_LENGTH,
  NVME_SGL_SEGMENT,
  NVME_SGL_SEGMENT_TYPE,
  NVME_SGL_TYPE,
  NVME_SUCCESS,
} from './regs';

/** Segments, and descriptors in all, that one command may have: a chain that loops ends here. */
const SGL_SEGMENTS_MAX: u32 = 256;
const SGL_DESCRIPTORS_MAX: u32 = 65536;

/**
 * Moves the first `limit` of the command's `bytes` bytes through its data pointer; the mover has been told what to move.
 * A status.
 */
export function walkData(d: Nvme, c: Command, bytes: u32, limit: u32, toMemory: bool): u32 {
  if (limit == 0) return NVME_SUCCESS;
  return c.psdt == <u32>NVME_PSDT_PRP ? walkPrp(d, c, bytes, limit) : walkSgl(d, c, limit, toMemory);
}

function walkPrp(d: Nvme, c: Command, bytes: u32, limit: u32): u32 {
  const page: u32 = (<u32>1) << d.pageShift;
  const offset = <u32>c.prp1 & (page - 1);
  if ((offset & 3) != 0) return NVME_PRP_OFFSET;
  const first = page - offset;
  if (bytes <= first) return segment(d, c.prp1, limit);
  const left = bytes - first;
  if (left <= page) {
    // The second entry is the second page.
    if ((<u32>c.prp2 & (page - 1)) != 0) return NVME_PRP_OFFSET;
    if (c.prp2 == c.prp1 + first) return segment(d, c.prp1, limit);
    const status = segment(d, c.prp1, min(first, limit));
    return status != NVME_SUCCESS || limit <= first ? status : segment(d, c.prp2, limit - first);
  }
  if ((<u32>c.prp2 & 7) != 0) return NVME_PRP_OFFSET;
  return walkList(d, c, page, first, left, limit);
}

/**
 * A PRP list. Its last slot in a page is the next list's address when more than that slot is left ([1] 4.3). Every list
 * but the first begins at the start of a page, so that each has data, and the budget bounds the chain.
 */
function walkList(d: Nvme, c: Command, page: u32, first: u32, left: u32, limit: u32): u32 {
  let list = c.prp2;
  // What is contiguous so far.
  let start = c.prp1;
  let run = first;
  let budget = limit;
  const entries = scratchOf(d);
  while (left > 0) {
    const slots = (page - (<u32>list & (page - 1))) >>> 3;
    const pages = ((left - 1) >> d.pageShift) + 1;
    const chained = pages > slots;
    const here = min(min(chained ? slots - 1 : pages, pages), SCRATCH >>> 3);
    const next = chained && here == slots - 1;
    if (isMisused(d, list, (here + (next ? 1 : 0)) << 3, NVME_CMBSZ_LISTS)) return NVME_CMB_USE;
    if (dmaFetch(d, list, entries, (here + (next ? 1 : 0)) << 3) != DMA_OK) return NVME_DATA_TRANSFER;
    for (let i: u32 = 0; i < here; i++) {
      const entry = load<u64>(entries + (i << 3));
      if ((<u32>entry & (page - 1)) != 0) return NVME_PRP_OFFSET;
      const part = min(page, left);
      left -= part;
      if (entry == start + run) {
        run += part;
        continue;
      }
      const now = min(run, budget);
      if (now > 0) {
        const status = segment(d, start, now);
        if (status != NVME_SUCCESS) return status;
      }
      budget -= now;
      start = entry;
      run = part;
    }
    list += (<u64>here) << 3;
    if (next) {
      list = load<u64>(entries + (here << 3));
      if ((<u32>list & (page - 1)) != 0) return NVME_PRP_OFFSET;
    }
  }
  return budget == 0 ? NVME_SUCCESS : segment(d, start, min(run, budget));
}

function segment(d: Nvme, address: u64, bytes: u32): u32 {
  const use = load<u32>(AT_MOVE_TO_MEMORY) != 0 ? NVME_CMBSZ_RDS : NVME_CMBSZ_WDS;
  if (isMisused(d, address, bytes, use)) return NVME_CMB_USE;
  return moveSegment(d, address, bytes) == DMA_OK ? NVME_SUCCESS : NVME_DATA_TRANSFER;
}

function walkSgl(d: Nvme, c: Command, limit: u32, toMemory: bool): u32 {
  const entries = scratchOf(d);
  let address = c.prp1;
  let length = <u32>c.prp2;
  let type = <u32>(c.prp2 >> 56);
  let left = limit;
  if (type != <u32>NVME_SGL_SEGMENT_TYPE && type != <u32>NVME_SGL_LAST_SEGMENT) {
    const status = sglData(d, address, length, type, limit, toMemory);
    if (status != NVME_SUCCESS) return status;
    return sglUses(length, type, limit, toMemory) == limit ? NVME_SUCCESS : <u32>NVME_SGL_LENGTH;
  }
  let descriptors: u32 = 0;
  for (let segments: u32 = 0; segments < SGL_SEGMENTS_MAX; segments++) {
    if (length == 0 || (length & (NVME_SGL_BYTES - 1)) != 0) return NVME_SGL_SEGMENT;
    const lastSegment = type == <u32>NVME_SGL_LAST_SEGMENT;
    const count = length / NVME_SGL_BYTES;
    let following = false;
    for (let done: u32 = 0; done < count; ) {
      const n = min(count - done, SCRATCH / NVME_SGL_BYTES);
      if (isMisused(d, address, n * NVME_SGL_BYTES, NVME_CMBSZ_LISTS)) return NVME_CMB_USE;
      if (dmaFetch(d, address, entries, n * NVME_SGL_BYTES) != DMA_OK) return NVME_DATA_TRANSFER;
      address += n * NVME_SGL_BYTES;
      for (let i: u32 = 0; i < n; i++) {
        const entry = entries + i * NVME_SGL_BYTES;
        const high = load<u64>(entry, 8);
        done++;
        length = <u32>high;
        type = <u32>(high >> 56);
        if (type == <u32>NVME_SGL_SEGMENT_TYPE || type == <u32>NVME_SGL_LAST_SEGMENT) {
          // Only the last descriptor of a segment that is not the last one ([1] 4.4).
          if (lastSegment || done != count) return NVME_SGL_SEGMENT;
          address = load<u64>(entry);
          following = true;
          break;
        }
        const status = sglData(d, load<u64>(entry), length, type, left, toMemory);
        if (status != NVME_SUCCESS) return status;
        left -= sglUses(length, type, left, toMemory);
        if (left == 0) return NVME_SUCCESS;
        if (++descriptors == SGL_DESCRIPTORS_MAX) return NVME_SGL_COUNT;
      }
      if (following) break;
    }
    if (!following) return lastSegment ? <u32>NVME_SGL_LENGTH : <u32>NVME_SGL_SEGMENT;
  }
  guardLoop(d, address);
  return NVME_SGL_COUNT;
}

/** Bytes of the transfer that a descriptor stands for: a bit bucket holds none that go to the device. */
function sglUses(length: u32, type: u32, left: u32, toMemory: bool): u32 {
  return type == <u32>NVME_SGL_BIT_BUCKET && !toMemory ? 0 : min(length, left);
}

/** One data block or bit bucket descriptor; keyed, transport and unknown ones, and offsets, are refused. */
function sglData(d: Nvme, address: u64, length: u32, type: u32, left: u32, toMemory: bool): u32 {
  let n = sglUses(length, type, left, toMemory);
  if (type == <u32>NVME_SGL_DATA) return n == 0 ? NVME_SUCCESS : segment(d, address, n);
  if (type != <u32>NVME_SGL_BIT_BUCKET) return NVME_SGL_TYPE;
  while (n > 0) {
    const part = min(n, <u32>PAGE_BYTES);
    moveInside(AT_NOWHERE, part);
    n -= part;
  }
  return NVME_SUCCESS;
}
