// MODE SENSE and MODE SELECT of an optical drive (references in mmc-regs.ts). Nothing in its pages can be changed: a
// list of parameters may only say what is.
import { invalidParameter } from './block';
import { get16, get24, put16, put24, put32 } from './bytes';
import {
  ASC_SAVING_NOT_SUPPORTED,
  CD_FRAMES,
  CD_SECONDS,
  MODE_CAPABILITIES,
  MODE_CD_DEVICE,
  MODE_POWER,
  MODE_TIMEOUT,
} from './mmc-regs';
import {
  ASC_INVALID_CDB_FIELD,
  ASC_PARAMETER_LENGTH,
  CDB_DBD,
  CDB_SP,
  DATA_IN,
  DATA_OUT,
  KEY_ILLEGAL_REQUEST,
  MODE_ALL,
  MODE_RECOVERY,
  OP_MODE_SELECT_6,
  OP_MODE_SENSE_6,
  PC_CHANGEABLE,
  PC_SAVED,
} from './regs';
import { bufferOf, cdbOf, fail, offer, ScsiTask, TASK_BUFFER_BYTES, unitOf } from './task';
import { isPacket, unitDisk } from './unit';

const PAGES: StaticArray<u8> = [0x01, 0x0d, 0x1a, 0x1d, 0x2a];
/** Where the pages of a list are that they are compared with: behind any list that is taken. */
const CURRENT_AT: u32 = 256;
/** kB/s of a CD read at 48 times its speed, and of the drive's buffer. */
const SPEED: u32 = 8467;
const BUFFER_KB: u32 = 512;
/** Times that a block is read again, and the inactivity timer: eight seconds. */
const RETRIES: u8 = 8;
const INACTIVITY: u8 = 0x0d;

export function driveModeSense(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const short = load<u8>(cdb) == OP_MODE_SENSE_6;
  const wanted: u32 = load<u8>(cdb, 2) & 0x3f;
  const control: u32 = load<u8>(cdb, 2) >>> 6;
  if (control == PC_SAVED) return fail(t, KEY_ILLEGAL_REQUEST, ASC_SAVING_NOT_SUPPORTED);
  const subpage: u32 = load<u8>(cdb, 3);
  if (subpage != 0 && !(wanted == MODE_ALL && subpage == 0xff)) return invalidField(t);
  const at = bufferOf(t);
  memory.fill(at, 0, TASK_BUFFER_BYTES);
  const header: u32 = short ? 4 : 8;
  const descriptor: u32 = isPacket(unitOf(t)) || (load<u8>(cdb, 1) & CDB_DBD) != 0 ? 0 : 8;
  if (descriptor != 0) {
    const disk = unitDisk(unitOf(t));
    put32(at + header, <u32>min(disk.sectors, <u64>0xffffff));
    put24(at + header + 5, (<u32>1) << disk.sectorShift);
  }
  const first = at + header + descriptor;
  let end = first;
  for (let i = 0; i < PAGES.length; i++) {
    const page: u32 = unchecked(PAGES[i]);
    if (wanted == page || wanted == MODE_ALL) end = putPage(t, end, page, control);
  }
  if (end == first) return invalidField(t);
  const bytes = <u32>(end - at);
  if (short) {
    store<u8>(at, <u8>(bytes - 1));
    store<u8>(at, <u8>descriptor, 3);
  } else {
    put16(at, bytes - 2);
    put16(at + 6, descriptor);
  }
  offer(t, DATA_IN, min<u32>(short ? load<u8>(cdb, 4) : get16(cdb + 7), bytes));
}

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** Bytes of a page behind its two header bytes. */
function pageBytes(page: u32): u32 {
  if (page == MODE_CD_DEVICE) return 6;
  return page == MODE_CAPABILITIES ? 30 : 10;
}

/** Writes a page, or with PC_CHANGEABLE the mask of what can be changed in it: nothing. Returns its end. */
function putPage(t: ScsiTask, at: usize, page: u32, control: u32): usize {
  const bytes = pageBytes(page);
  memory.fill(at, 0, bytes + 2);
  store<u8>(at, <u8>page);
  store<u8>(at, <u8>bytes, 1);
  if (control == PC_CHANGEABLE) return at + bytes + 2;
  if (page == MODE_RECOVERY) store<u8>(at, RETRIES, 3);
  else if (page == MODE_CD_DEVICE) {
    store<u8>(at, INACTIVITY, 3);
    put16(at + 4, CD_SECONDS);
    put16(at + 6, CD_FRAMES);
  } else if (page == MODE_CAPABILITIES) {
    // Reads CD-R, CD-RW and DVD-ROM.
    store<u8>(at, 0x0b, 2);
    // A tray, which opens on command and can be locked; whether it is.
    store<u8>(at, <u8>(0x29 | (unitDisk(unitOf(t)).locked != 0 ? 0x02 : 0)), 6);
    put16(at + 8, SPEED);
    put16(at + 12, BUFFER_KB);
    put16(at + 14, SPEED);
  } else assert(page == MODE_POWER || page == MODE_TIMEOUT);
  return at + bytes + 2;
}

export function driveModeSelect(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const bytes: u32 = load<u8>(cdb) == OP_MODE_SELECT_6 ? load<u8>(cdb, 4) : get16(cdb + 7);
  if ((load<u8>(cdb, 1) & CDB_SP) != 0) return invalidField(t);
  if (bytes > CURRENT_AT) return fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
  offer(t, DATA_OUT, bytes);
}

/** The parameter list is here: header, at most one block descriptor, pages. */
export function takeDriveModeList(t: ScsiTask): void {
  const at = bufferOf(t);
  const short = load<u8>(cdbOf(t)) == OP_MODE_SELECT_6;
  const header: u32 = short ? 4 : 8;
  if (t.length < header) return truncated(t);
  const descriptor: u32 = short ? load<u8>(at, 3) : get16(at + 6);
  if (descriptor != 0 && (descriptor != 8 || isPacket(unitOf(t)))) return invalidParameter(t);
  if (t.length < header + descriptor) return truncated(t);
  const blockBytes: u32 = (<u32>1) << unitDisk(unitOf(t)).sectorShift;
  if (descriptor != 0 && get24(at + header + 5) != blockBytes) return invalidParameter(t);
  let page = at + header + descriptor;
  const end = at + t.length;
  while (page < end) {
    if (page + 2 > end) return truncated(t);
    const code: u32 = load<u8>(page) & 0x3f;
    if (!isPage(code) || load<u8>(page, 1) != <u8>pageBytes(code)) return invalidParameter(t);
    const bytes = pageBytes(code) + 2;
    if (page + bytes > end) return truncated(t);
    putPage(t, at + CURRENT_AT, code, 0);
    if (memory.compare(page + 2, at + CURRENT_AT + 2, bytes - 2) != 0) return invalidParameter(t);
    page += bytes;
  }
}

function truncated(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
}

function isPage(code: u32): bool {
  for (let i = 0; i < PAGES.length; i++) if (unchecked(PAGES[i]) == <u8>code) return true;
  return false;
}
