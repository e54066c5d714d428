// The block commands, SBC-2 chapter 5: what moves, verifies, flushes, deallocates or repeats blocks, and what
// tells how many there are.
import {
  MEDIA_DISCARD,
  MEDIA_FLUSH,
  MEDIA_READ,
  MEDIA_VERIFY,
  MEDIA_WRITE,
  MEDIA_ZERO,
} from '../media/codes';
import { get16, get24, get32, get64, put32, put64 } from './bytes';
import { startRange, startTransfer, unmapRange, writeThrough } from './range';
import {
  ASC_INVALID_CDB_FIELD,
  ASC_INVALID_PARAMETER,
  ASC_LBA_RANGE,
  ASC_PARAMETER_LENGTH,
  ASC_WRITE_PROTECTED,
  CDB_ANCHOR,
  CDB_BYTCHK,
  CDB_BYTCHK_FIELD,
  CDB_FMTDATA,
  CDB_FMTPINFO,
  CDB_LBDATA,
  CDB_NDOB,
  CDB_PMI,
  CDB_PROTECT,
  CDB_START,
  CDB_UNMAP,
  CDB_UNMAP_ANCHOR,
  DATA_IN,
  DATA_OUT,
  KEY_DATA_PROTECT,
  KEY_ILLEGAL_REQUEST,
  MAX_TRANSFER_BLOCKS,
  MAX_UNMAP_RANGES,
  OP_READ_6,
  OP_READ_10,
  OP_READ_12,
  OP_READ_16,
  OP_READ_DEFECT_DATA_10,
  OP_WRITE_6,
  OP_WRITE_10,
  OP_WRITE_12,
  OP_WRITE_16,
  OP_WRITE_SAME_16,
  OP_WRITE_VERIFY_10,
  OP_WRITE_VERIFY_12,
  OP_WRITE_VERIFY_16,
  SA_READ_CAPACITY_16,
  STATUS_BUSY,
} from './regs';
import {
  AFTER_VERIFY,
  ask,
  bufferOf,
  COMPARES_YES,
  cdbOf,
  claimBlock,
  fail,
  failAt,
  offer,
  ScsiTask,
  TASK_BUFFER_BYTES,
  unitOf,
} from './task';
import { unitBlock, unitDisk } from './unit';

/** READ and WRITE 6, 10, 12, 16, WRITE AND VERIFY. */
export function readWrite(t: ScsiTask, opcode: u32): void {
  const reads = opcode == OP_READ_6 || opcode == OP_READ_10 || opcode == OP_READ_12 || opcode == OP_READ_16;
  const lba = lbaOf(t);
  const blocks = blocksOf(t);
  if (!checkRange(t, lba, blocks)) return;
  if (!reads && !checkWritable(t)) return;
  if (blocks == 0) return;
  t.direction = reads ? DATA_IN : DATA_OUT;
  t.length = blocks << unitDisk(unitOf(t)).sectorShift;
  if (opcode == OP_WRITE_VERIFY_10 || opcode == OP_WRITE_VERIFY_12 || opcode == OP_WRITE_VERIFY_16) {
    t.after = AFTER_VERIFY;
  }
  startTransfer(t, reads ? MEDIA_READ : MEDIA_WRITE, lba, blocks);
}

/** VERIFY, with or without data to compare; one block to compare with many (BYTCHK 3) is refused. */
export function verify(t: ScsiTask): void {
  const check = load<u8>(cdbOf(t), 1) & CDB_BYTCHK_FIELD;
  if (check != 0 && check != CDB_BYTCHK) return invalidField(t);
  const lba = lbaOf(t);
  const blocks = blocksOf(t);
  if (!checkRange(t, lba, blocks) || blocks == 0) return;
  if (check == 0) return startRange(t, MEDIA_VERIFY, lba, blocks);
  t.compares = COMPARES_YES;
  t.direction = DATA_OUT;
  t.length = blocks << unitDisk(unitOf(t)).sectorShift;
  startTransfer(t, MEDIA_READ, lba, blocks);
}

/** SYNCHRONIZE CACHE: the whole cache, whatever range is named, and always before the status. */
export function synchronize(t: ScsiTask): void {
  const disk = unitDisk(unitOf(t));
  const lba = lbaOf(t);
  if (lba > disk.sectors || disk.sectors - lba < <u64>blocksOf(t))
    return failAt(t, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE, lba);
  ask(t, MEDIA_FLUSH, 0, 0);
}

export function seek(t: ScsiTask): void {
  checkRange(t, lbaOf(t), 1);
}

/** START STOP UNIT, SBC-2 5.19: nothing is ejected, there are no power conditions, and a stop flushes first. */
export function startStop(t: ScsiTask): void {
  const flags = load<u8>(cdbOf(t), 4);
  if ((flags & 0xf2) != 0) return invalidField(t);
  const u = unitOf(t);
  const starts = (flags & CDB_START) != 0;
  u.stopped = starts ? 0 : 1;
  if (!starts) ask(t, MEDIA_FLUSH, 0, 0);
}

export function readCapacity10(t: ScsiTask): void {
  const cdb = cdbOf(t);
  if ((load<u8>(cdb, 8) & CDB_PMI) == 0 && get32(cdb + 2) != 0) return invalidField(t);
  const disk = unitDisk(unitOf(t));
  const last = disk.sectors - 1;
  const at = bufferOf(t);
  put32(at, last > 0xffffffff ? 0xffffffff : <u32>last);
  put32(at + 4, (<u32>1) << disk.sectorShift);
  offer(t, DATA_IN, 8);
}

/** SBC-3 5.16: provisioned thinly (LBPME), and what was deallocated reads as zeroes (LBPRZ); or neither. */
export function readCapacity16(t: ScsiTask): void {
  const cdb = cdbOf(t);
  if ((load<u8>(cdb, 1) & 0x1f) != SA_READ_CAPACITY_16) return invalidField(t);
  if ((load<u8>(cdb, 14) & CDB_PMI) == 0 && get64(cdb + 2) != 0) return invalidField(t);
  const disk = unitDisk(unitOf(t));
  const at = bufferOf(t);
  memory.fill(at, 0, 32);
  put64(at, disk.sectors - 1);
  put32(at + 8, (<u32>1) << disk.sectorShift);
  store<u8>(at, unitOf(t).thick != 0 ? 0 : 0xc0, 14);
  offer(t, DATA_IN, min<u32>(get32(cdb + 10), 32));
}

/** READ DEFECT DATA: the lists are empty, and say which format was asked for (SBC-2 5.17). */
export function readDefects(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const short = load<u8>(cdb) == OP_READ_DEFECT_DATA_10;
  const at = bufferOf(t);
  memory.fill(at, 0, 8);
  store<u8>(at, load<u8>(cdb + (short ? 2 : 1)) & 0x1f, 1);
  offer(t, DATA_IN, short ? min<u32>(get16(cdb + 7), 4) : min<u32>(get32(cdb + 6), 8));
}

/** FORMAT UNIT with the defaults leaves zeroes; lists and protection information are refused. */
export function formatUnit(t: ScsiTask): void {
  if ((load<u8>(cdbOf(t), 1) & (CDB_FMTDATA | CDB_FMTPINFO)) != 0) return invalidField(t);
  if (!checkWritable(t)) return;
  t.formats = 1;
  unitOf(t).formatting = 1;
  startRange(t, MEDIA_ZERO, 0, unitDisk(unitOf(t)).sectors);
}

/** UNMAP: the parameter list comes first, SBC-3 5.28. */
export function unmap(t: ScsiTask): void {
  const cdb = cdbOf(t);
  if ((load<u8>(cdb, 1) & CDB_UNMAP_ANCHOR) != 0) return invalidField(t);
  const bytes = get16(cdb + 7);
  if (bytes == 0) return;
  if (bytes < 8) return fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
  if (bytes > TASK_BUFFER_BYTES) return invalidField(t);
  if (checkWritable(t)) offer(t, DATA_OUT, bytes);
}

export function takeUnmapList(t: ScsiTask): void {
  const bytes = min<u32>(get16(bufferOf(t) + 2), t.length - 8);
  const ranges = bytes >>> 4;
  if (ranges > <u32>MAX_UNMAP_RANGES) return invalidParameter(t);
  const disk = unitDisk(unitOf(t));
  for (let i: u32 = 0; i < ranges; i++) {
    const lba = get64(unmapRange(t, i));
    const blocks: u64 = get32(unmapRange(t, i) + 8);
    if (lba > disk.sectors || disk.sectors - lba < blocks)
      return failAt(t, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE, lba);
  }
  t.ranges = ranges;
  startRange(t, MEDIA_DISCARD, 0, 0);
}

/** WRITE SAME 10 and 16, SBC-3 5.43: one block comes, or none. A length of 0 means all to the end of the medium. */
export function writeSame(t: ScsiTask): void {
  const cdb = cdbOf(t);
  if ((load<u8>(cdb, 1) & (CDB_PROTECT | CDB_ANCHOR | CDB_LBDATA)) != 0) return invalidField(t);
  const u = unitOf(t);
  const disk = unitDisk(u);
  const lba = lbaOf(t);
  if (lba >= disk.sectors || disk.sectors - lba < <u64>blocksOf(t)) {
    return failAt(t, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE, lba);
  }
  if (!checkWritable(t)) return;
  if (load<u8>(cdb) == OP_WRITE_SAME_16 && (load<u8>(cdb, 1) & CDB_NDOB) != 0) return startSame(t, true);
  if (!claimBlock(t)) {
    t.status = STATUS_BUSY;
    return;
  }
  offer(t, DATA_OUT, (<u32>1) << disk.sectorShift);
}

/** The block of a WRITE SAME is here. */
export function takeSameBlock(t: ScsiTask): void {
  const u = unitOf(t);
  startSame(t, isZero(unitBlock(u), (<u32>1) << unitDisk(u).sectorShift));
}

function startSame(t: ScsiTask, zeroes: bool): void {
  const disk = unitDisk(unitOf(t));
  const lba = lbaOf(t);
  let blocks: u64 = blocksOf(t);
  if (blocks == 0) blocks = disk.sectors - lba;
  const unmaps = (load<u8>(cdbOf(t), 1) & CDB_UNMAP) != 0;
  writeThrough(t, false);
  // Deallocated blocks read as zeroes, so only a block of zeroes may be deallocated (SBC-3 4.7.3.4).
  startRange(t, zeroes ? (unmaps ? MEDIA_DISCARD : MEDIA_ZERO) : MEDIA_WRITE, lba, blocks);
}

function isZero(at: usize, bytes: u32): bool {
  for (let i: u32 = 0; i < bytes; i += 8) if (load<u64>(at + i) != 0) return false;
  return true;
}

/** First block of a READ or WRITE, 0 for other commands. */
export function transferLba(t: ScsiTask): u64 {
  switch (<u32>load<u8>(cdbOf(t))) {
    case OP_READ_6:
    case OP_READ_10:
    case OP_READ_12:
    case OP_READ_16:
    case OP_WRITE_6:
    case OP_WRITE_10:
    case OP_WRITE_12:
    case OP_WRITE_16:
      return lbaOf(t);
    default:
      return 0;
  }
}

function lbaOf(t: ScsiTask): u64 {
  const cdb = cdbOf(t);
  switch (load<u8>(cdb) >>> 5) {
    case 0:
      return get24(cdb + 1) & 0x1fffff;
    case 4:
      return get64(cdb + 2);
    default:
      return get32(cdb + 2);
  }
}

function blocksOf(t: ScsiTask): u32 {
  const cdb = cdbOf(t);
  switch (load<u8>(cdb) >>> 5) {
    case 0: {
      const blocks = <u32>load<u8>(cdb, 4);
      return blocks == 0 ? 256 : blocks;
    }
    case 4:
      return get32(cdb + 10);
    case 5:
      return get32(cdb + 6);
    default:
      return get16(cdb + 7);
  }
}

/** Checks the protection field, the length and the range; false once the task has failed. */
function checkRange(t: ScsiTask, lba: u64, blocks: u32): bool {
  const cdb = cdbOf(t);
  const disk = unitDisk(unitOf(t));
  const hasProtection = load<u8>(cdb) >>> 5 != 0;
  if (hasProtection && (load<u8>(cdb, 1) & CDB_PROTECT) != 0) invalidField(t);
  else if (lba > disk.sectors || disk.sectors - lba < <u64>blocks || lba == disk.sectors) {
    failAt(t, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE, lba);
  } else if (blocks > <u32>MAX_TRANSFER_BLOCKS) invalidField(t);
  else return true;
  return false;
}

function checkWritable(t: ScsiTask): bool {
  if (unitDisk(unitOf(t)).readOnly == 0) return true;
  fail(t, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
  return false;
}

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** A parameter list with a field that does not fit. */
export function invalidParameter(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_PARAMETER);
}
