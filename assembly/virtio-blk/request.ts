// Block requests ([1] 5.2.6; references in state.ts): header, data, status, and what the medium is asked for them.
import { uniqueId } from '../bus/arena';
import { schedule } from '../bus/clock';
import { DMA_OK } from '../bus/codes';
import { dmaFetch, dmaStore } from '../bus/dma';
import { moveBuffer, moveEnd, moveFault, moveRequest, moveSegment } from '../bus/mover';
import { trace } from '../bus/trace';
import { TRACE_COMMAND, TRACE_COMPLETE } from '../bus/trace-codes';
import {
  DISK_SERIAL,
  DISK_SERIAL_BYTES,
  MEDIA_DISCARD,
  MEDIA_FLUSH,
  MEDIA_OK,
  MEDIA_PENDING,
  MEDIA_READ,
  MEDIA_WRITE,
  MEDIA_ZERO,
} from '../media/codes';
import {
  beginRequest,
  Disk,
  diskOf,
  diskText,
  dropRequest,
  endRequest,
  finishRequest,
  Request,
} from '../media/media';
import { useBuffer } from './queue';
import {
  BLK_HEADER_BYTES,
  BLK_HEADER_SECTOR,
  BLK_ID_BYTES,
  BLK_RANGE_BYTES,
  BLK_RANGE_FLAGS,
  BLK_RANGE_SECTORS,
  BLK_RANGE_UNMAP,
  BLK_S_IOERR,
  BLK_S_OK,
  BLK_S_UNSUPP,
  BLK_SECTOR_SHIFT,
  BLK_T_DISCARD,
  BLK_T_FLUSH,
  BLK_T_GET_ID,
  BLK_T_IN,
  BLK_T_OUT,
  BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from './regs';
import {
  diskOfDevice,
  EVENT_RETRY,
  freeSlot,
  nameCommand,
  queueAt,
  rangeAt,
  SEGMENT_LENGTH,
  SLOT_BUSY,
  SLOT_FREE,
  SLOT_WAITING,
  Slot,
  segmentAt,
  slotAt,
  slotIndex,
  smallScratch,
  VirtioBlk,
  writesThrough,
} from './state';

/** How long a request waits before it asks for a media request again. */
const RETRY_NS: u64 = 10_000;
const BLOCK_MASK: u64 = (1 << BLK_SECTOR_SHIFT) - 1;

/** A chain was read: what does it want? */
export function startRequest(d: VirtioBlk, s: Slot): void {
  d.commands++;
  takeStatus(s);
  const small = smallScratch(d);
  if (s.readBytes < <u64>BLK_HEADER_BYTES || !takeReadable(d, s, small, BLK_HEADER_BYTES))
    return end(d, s, BLK_S_IOERR, 0);
  s.type = load<u32>(small);
  const sector = load<u64>(small, BLK_HEADER_SECTOR);
  trace(TRACE_COMMAND, d.id, d.command, s.type, <u32>sector, <u32>((s.readBytes + s.writeBytes) >> 9));
  switch (s.type) {
    case BLK_T_IN:
      return s.readBytes == 0 ? transfer(d, s, MEDIA_READ, sector, s.writeBytes) : end(d, s, BLK_S_IOERR, 0);
    case BLK_T_OUT:
      return s.writeBytes == 0 ? transfer(d, s, MEDIA_WRITE, sector, s.readBytes) : end(d, s, BLK_S_IOERR, 0);
    case BLK_T_FLUSH:
      if ((d.accepted & VIRTIO_BLK_F_FLUSH) == 0) return end(d, s, BLK_S_UNSUPP, 0);
      return ask(d, s, MEDIA_FLUSH, 0, 0);
    case BLK_T_GET_ID:
      return identify(d, s);
    case BLK_T_DISCARD:
      return (d.accepted & VIRTIO_BLK_F_DISCARD) != 0 ? ranges(d, s) : end(d, s, BLK_S_UNSUPP, 0);
    case BLK_T_WRITE_ZEROES:
      return (d.accepted & VIRTIO_BLK_F_WRITE_ZEROES) != 0 ? ranges(d, s) : end(d, s, BLK_S_UNSUPP, 0);
    default:
      end(d, s, BLK_S_UNSUPP, 0);
  }
}

/** The status is the last byte that the device may write. */
function takeStatus(s: Slot): void {
  const last = segmentAt(s, s.segments - 1);
  const length = load<u32>(last, SEGMENT_LENGTH) - 1;
  s.statusAt = load<u64>(last) + length;
  store<u32>(last, length, SEGMENT_LENGTH);
  if (length == 0) s.segments--;
  s.writeBytes--;
}

/** Takes the next `bytes` bytes that the device may read, however they are cut up; false where memory is missing. */
function takeReadable(d: VirtioBlk, s: Slot, to: usize, bytes: u32): bool {
  s.readBytes -= bytes;
  let good = true;
  while (bytes > 0) {
    const segment = segmentAt(s, s.first);
    const length = load<u32>(segment, SEGMENT_LENGTH);
    const n = min(length, bytes);
    if (dmaFetch(d, load<u64>(segment), to, n) != DMA_OK) good = false;
    store<u64>(segment, load<u64>(segment) + n);
    store<u32>(segment, length - n, SEGMENT_LENGTH);
    if (n == length) s.first++;
    to += n;
    bytes -= n;
  }
  return good;
}

/** Data of whole blocks, in no more and no longer segments than the device takes. */
function transfer(d: VirtioBlk, s: Slot, operation: u32, sector: u64, bytes: u64): void {
  const disk = diskOfDevice(d);
  if (disk === null || bytes > <u64>u32.MAX_VALUE || !isWithinLimits(d, s)) return end(d, s, BLK_S_IOERR, 0);
  const shift = disk.sectorShift;
  if (!isWhole(disk, sector) || (bytes & (((<u64>1) << shift) - 1)) != 0) return end(d, s, BLK_S_IOERR, 0);
  s.bytes = <u32>bytes;
  ask(d, s, operation, sector >> (shift - BLK_SECTOR_SHIFT), s.bytes >>> shift);
}

function isWithinLimits(d: VirtioBlk, s: Slot): bool {
  if (d.segMax != 0 && s.segments - s.first > d.segMax) return false;
  if (d.sizeMax == 0) return true;
  for (let i = s.first; i < s.segments; i++) {
    if (load<u32>(segmentAt(s, i), SEGMENT_LENGTH) > d.sizeMax) return false;
  }
  return true;
}

/** Whether `sectors` of 512 bytes are whole blocks of the disk. */
function isWhole(disk: Disk, sectors: u64): bool {
  return ((sectors << BLK_SECTOR_SHIFT) & ((((<u64>1) << disk.sectorShift) - 1) & ~BLOCK_MASK)) == 0;
}

/** GET_ID ([1] 5.2.6): 20 bytes, filled up with zeroes. */
function identify(d: VirtioBlk, s: Slot): void {
  const disk = diskOfDevice(d);
  if (disk === null || s.readBytes != 0 || s.writeBytes == 0) return end(d, s, BLK_S_IOERR, 0);
  const id = smallScratch(d);
  memory.fill(id, 0, BLK_ID_BYTES);
  if (load<u8>(diskText(disk, DISK_SERIAL)) != 0) {
    memory.copy(id, diskText(disk, DISK_SERIAL), DISK_SERIAL_BYTES);
  } else {
    store<u8>(id, 0x42);
    store<u8>(id, 0x50, 1);
    for (let i: u32 = 0, left = uniqueId(disk.id); i < 8; i++, left /= 10)
      store<u8>(id + 9 - i, <u8>(0x30 + (left % 10)));
  }
  const bytes = <u32>min<u64>(s.writeBytes, BLK_ID_BYTES);
  moveBuffer(id, true);
  if (!moveSegments(d, s, bytes)) return end(d, s, BLK_S_IOERR, 0);
  moveEnd();
  end(d, s, BLK_S_OK, s.writeBytes == bytes ? bytes + 1 : bytes);
}

/** Ranges of DISCARD and WRITE_ZEROES ([1] 5.2.6): all are checked before the first is carried out. */
function ranges(d: VirtioBlk, s: Slot): void {
  const disk = diskOfDevice(d);
  const bytes = s.readBytes;
  if (disk === null || bytes == 0 || s.writeBytes != 0) return end(d, s, BLK_S_IOERR, 0);
  if (bytes % BLK_RANGE_BYTES != 0 || bytes > <u64>(d.ranges * BLK_RANGE_BYTES))
    return end(d, s, BLK_S_IOERR, 0);
  if (!takeReadable(d, s, rangeAt(s, 0), <u32>bytes)) return end(d, s, BLK_S_IOERR, 0);
  s.rangeCount = <u32>bytes / BLK_RANGE_BYTES;
  for (let i: u32 = 0; i < s.rangeCount; i++) {
    const status = checkRange(d, s, disk, rangeAt(s, i));
    if (status != BLK_S_OK) return end(d, s, status, 0);
  }
  nextRange(d, s, disk);
}

function checkRange(d: VirtioBlk, s: Slot, disk: Disk, range: usize): u32 {
  const discards = s.type == BLK_T_DISCARD;
  const sectors = load<u32>(range, BLK_RANGE_SECTORS);
  const flags = load<u32>(range, BLK_RANGE_FLAGS);
  if ((flags & ~BLK_RANGE_UNMAP) != 0 || (discards && flags != 0)) return BLK_S_UNSUPP;
  if (sectors > (discards ? d.discardSectors : d.zeroesSectors)) return BLK_S_IOERR;
  const first = load<u64>(range);
  const capacity = disk.sectors << (disk.sectorShift - BLK_SECTOR_SHIFT);
  if (first > capacity || capacity - first < <u64>sectors) return BLK_S_IOERR;
  return isWhole(disk, first) && isWhole(disk, sectors) ? BLK_S_OK : BLK_S_IOERR;
}

function nextRange(d: VirtioBlk, s: Slot, disk: Disk): void {
  const range = rangeAt(s, s.rangeNext++);
  const shift = disk.sectorShift - BLK_SECTOR_SHIFT;
  const unmap = s.type == BLK_T_DISCARD || load<u32>(range, BLK_RANGE_FLAGS) != 0;
  const sectors = load<u32>(range, BLK_RANGE_SECTORS) >>> shift;
  ask(d, s, unmap ? MEDIA_DISCARD : MEDIA_ZERO, load<u64>(range) >> shift, sectors);
}

/** Asks the medium; where no request is free, later. */
function ask(d: VirtioBlk, s: Slot, operation: u32, sector: u64, sectors: u32): void {
  s.operation = operation;
  s.sector = sector;
  s.sectors = sectors;
  const disk = diskOfDevice(d);
  if (disk === null) return end(d, s, BLK_S_IOERR, 0);
  const r = beginRequest(d, disk, operation, sector, sectors, slotIndex(d, s));
  if (r !== null) {
    s.state = SLOT_BUSY;
    s.request = <u32>changetype<usize>(r);
    return;
  }
  s.state = SLOT_WAITING;
  if (d.retrying == 0 && schedule(d, EVENT_RETRY, 0, RETRY_NS)) d.retrying = 1;
}

/** EVENT_RETRY. */
export function retryWaiting(d: VirtioBlk): void {
  d.retrying = 0;
  for (let i: u32 = 0; i < d.slotCount; i++) {
    const s = slotAt(d, i);
    if (s.state != SLOT_WAITING) continue;
    nameCommand(d, s);
    ask(d, s, s.operation, s.sector, s.sectors);
  }
}

/** EVENT_MEDIA_DATA: data can move. Bytes that the device could not read never reach the medium. */
export function mediaData(d: VirtioBlk, r: Request): void {
  const s = slotAt(d, r.tag);
  nameCommand(d, s);
  if (s.operation == MEDIA_READ || s.operation == MEDIA_WRITE) {
    moveRequest(r, 0, s.operation == MEDIA_READ);
    if (!moveSegments(d, s, s.bytes)) s.faulted = 1;
    if (s.faulted == 0 || s.operation == MEDIA_READ) moveEnd();
  }
  const status = finishRequest(r);
  if (status != MEDIA_PENDING) mediaEnd(d, s, r, status);
}

/** EVENT_MEDIA_DONE. */
export function mediaDone(d: VirtioBlk, r: Request): void {
  const s = slotAt(d, r.tag);
  nameCommand(d, s);
  mediaEnd(d, s, r, r.status);
}

function mediaEnd(d: VirtioBlk, s: Slot, r: Request, status: u32): void {
  const disk = diskOf(r);
  endRequest(r);
  s.request = 0;
  if (s.faulted != 0 || status != MEDIA_OK) return end(d, s, BLK_S_IOERR, 0);
  if (s.rangeNext < s.rangeCount) return nextRange(d, s, disk);
  const wrote = s.operation != MEDIA_READ && s.operation != MEDIA_FLUSH;
  if (wrote && disk.writeCache != 0 && writesThrough(d)) return ask(d, s, MEDIA_FLUSH, 0, 0);
  end(d, s, BLK_S_OK, s.type == BLK_T_IN ? s.bytes + 1 : 1);
}

/** Moves `bytes` bytes through the segments from the data's first on; false where memory is missing. */
function moveSegments(d: VirtioBlk, s: Slot, bytes: u32): bool {
  for (let i = s.first; i < s.segments && bytes > 0; i++) {
    const segment = segmentAt(s, i);
    const n = min(load<u32>(segment, SEGMENT_LENGTH), bytes);
    moveSegment(d, load<u64>(segment), n);
    bytes -= n;
  }
  assert(bytes == 0);
  return moveFault() == DMA_OK;
}

/** The request is over: status, used buffer, slot. `written`: bytes of the chain that count as written. */
function end(d: VirtioBlk, s: Slot, status: u32, written: u32): void {
  const small = smallScratch(d);
  store<u8>(small, <u8>status);
  dmaStore(d, s.statusAt, small, 1);
  d.completions++;
  trace(TRACE_COMPLETE, d.id, d.command, status, 0, 0);
  // What failed has written nothing but, where there is no other, the status ([1] 2.7.8.2).
  const bytes: u32 = written != 0 ? written : s.writeBytes == 0 ? 1 : 0;
  const queue = queueAt(d, s.queue);
  freeSlot(d, s);
  useBuffer(d, queue, s, bytes);
}

/** The disk is gone: what it was asked for fails. */
export function failAll(d: VirtioBlk): void {
  for (let i: u32 = 0; i < d.slotCount; i++) {
    const s = slotAt(d, i);
    if (s.state == SLOT_FREE) continue;
    nameCommand(d, s);
    if (s.request != 0) dropRequest(changetype<Request>(<usize>s.request));
    s.request = 0;
    end(d, s, BLK_S_IOERR, 0);
  }
}
