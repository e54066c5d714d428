// READ CD: the data of blocks, or more of them: sync pattern, header, error detection and correction codes, which the
// medium does not hold and which are made here (references in mmc-regs.ts).

import { markDirty } from '../bus/dirty';
import { moveEnd, moveInside, moveRequest } from '../bus/mover';
import { MEDIA_READ } from '../media/codes';
import { Request } from '../media/media';
import { get24, get32 } from './bytes';
import { isDvd } from './mmc-info';
import {
  ASC_WRONG_TRACK_MODE,
  CD_DATA_BYTES,
  CD_EDC_ECC,
  CD_EDC_ECC_BYTES,
  CD_FRAMES,
  CD_HEADER,
  CD_HEADER_BYTES,
  CD_PREGAP,
  CD_RAW_BLOCKS,
  CD_RAW_BYTES,
  CD_REFUSED,
  CD_SECONDS,
  CD_SUBHEADER,
  CD_SYNC,
  CD_SYNC_BYTES,
  CD_TYPE_ANY,
  CD_TYPE_MASK,
  CD_TYPE_MODE_1,
  CD_USER_DATA,
  OP_READ_CD_MSF,
} from './mmc-regs';
import { startTransfer } from './range';
import {
  ASC_INVALID_CDB_FIELD,
  ASC_LBA_RANGE,
  DATA_IN,
  KEY_ILLEGAL_REQUEST,
  MAX_TRANSFER_BLOCKS,
  STATUS_BUSY,
} from './regs';
import { putCodes, putHead } from './sector';
import { cdbOf, claimBlock, fail, failAt, ScsiTask, unitOf } from './task';
import { unitDisk } from './unit';

/** READ CD and READ CD MSF. Of audio, sub-channels and C2 errors there are none. */
export function readCd(t: ScsiTask, opcode: u32): void {
  const cdb = cdbOf(t);
  const disk = unitDisk(unitOf(t));
  const msf = opcode == OP_READ_CD_MSF;
  const lba: u32 = msf ? blockOf(cdb + 3) : get32(cdb + 2);
  const end: u32 = msf ? blockOf(cdb + 6) : 0;
  if (msf && end < lba) return invalidField(t);
  const blocks: u32 = msf ? end - lba : get24(cdb + 6);
  const type: u32 = load<u8>(cdb, 1) & CD_TYPE_MASK;
  const fields: u32 = load<u8>(cdb, 9) & ~CD_REFUSED;
  const extras = (load<u8>(cdb, 9) & CD_REFUSED) | (load<u8>(cdb, 10) & 7);
  if (extras != 0 || !isContiguous(fields)) return invalidField(t);
  if (<u64>lba > disk.sectors || disk.sectors - lba < <u64>blocks)
    return failAt(t, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE, lba);
  const bytes = fieldBytes(fields);
  const plain = bytes == <u32>CD_DATA_BYTES;
  if ((type != CD_TYPE_ANY && type != CD_TYPE_MODE_1) || (!plain && isDvd(disk)))
    return fail(t, KEY_ILLEGAL_REQUEST, ASC_WRONG_TRACK_MODE);
  if (blocks > <u32>(plain ? MAX_TRANSFER_BLOCKS : CD_RAW_BLOCKS)) return invalidField(t);
  if (blocks == 0 || bytes == 0) return;
  if (!plain) {
    if (!claimBlock(t)) {
      t.status = STATUS_BUSY;
      return;
    }
    t.fields = fields;
  }
  t.direction = DATA_IN;
  t.length = blocks * bytes;
  startTransfer(t, MEDIA_READ, lba, blocks);
}

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** Block of minutes, seconds and frames; a place before block 0 is one that no medium has. */
function blockOf(at: usize): u32 {
  const seconds: u32 = <u32>load<u8>(at) * CD_SECONDS + load<u8>(at, 1);
  return seconds * CD_FRAMES + load<u8>(at, 2) - CD_PREGAP;
}

/** Whether the fields follow each other in a block of mode 1, which has no sub-header. */
function isContiguous(fields: u32): bool {
  const sync = (fields & CD_SYNC) != 0;
  const header = (fields & CD_HEADER) != 0;
  const data = (fields & CD_USER_DATA) != 0;
  if ((fields & CD_EDC_ECC) != 0 && !data) return false;
  return !sync || header || (fields & (CD_SUBHEADER | CD_USER_DATA)) == 0;
}

/** Bytes of what is asked for of a block. */
function fieldBytes(fields: u32): u32 {
  let bytes: u32 = (fields & CD_SYNC) != 0 ? CD_SYNC_BYTES : 0;
  if ((fields & CD_HEADER) != 0) bytes += CD_HEADER_BYTES;
  if ((fields & CD_USER_DATA) != 0) bytes += CD_DATA_BYTES;
  return (fields & CD_EDC_ECC) != 0 ? bytes + CD_EDC_ECC_BYTES : bytes;
}

/** Makes whole blocks of what the medium read, and puts what is asked for of them at `to`. */
export function composeBlocks(t: ScsiTask, r: Request, to: usize): void {
  const bytes = fieldBytes(t.fields);
  const from = firstByte(t.fields);
  const block = to + CD_RAW_BLOCKS * CD_RAW_BYTES;
  moveRequest(r, 0, true);
  // Their data lie at their places first, as far apart as whole blocks, so that one read brings them all.
  for (let i: u32 = 0; i < r.sectors; i++)
    moveInside(to + i * CD_RAW_BYTES + CD_SYNC_BYTES + CD_HEADER_BYTES, CD_DATA_BYTES);
  moveEnd();
  for (let i: u32 = 0; i < r.sectors; i++) {
    memory.copy(block, to + i * CD_RAW_BYTES, CD_RAW_BYTES);
    putHead(block, <u32>r.sector + i);
    if ((t.fields & CD_EDC_ECC) != 0) putCodes(block);
    memory.copy(to + i * bytes, block + from, bytes);
  }
  markDirty(to, (CD_RAW_BLOCKS + 1) * CD_RAW_BYTES);
}

/** Where in a block that begins which is asked for. */
function firstByte(fields: u32): u32 {
  if ((fields & CD_SYNC) != 0) return 0;
  return (fields & CD_HEADER) != 0 ? CD_SYNC_BYTES : CD_SYNC_BYTES + CD_HEADER_BYTES;
}
