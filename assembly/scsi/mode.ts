// MODE SENSE and MODE SELECT, SPC-3 6.7 to 6.10, with the pages of a disk. The write cache and the read
// cache can be changed and saved; all else stands.
import { invalidParameter } from './block';
import { get16, get24, get32, put16, put24, put32, put64 } from './bytes';
import {
  ASC_INVALID_CDB_FIELD,
  ASC_PARAMETER_LENGTH,
  CACHING_WCE,
  CDB_DBD,
  CDB_LLBAA,
  CDB_SP,
  DATA_IN,
  DATA_OUT,
  KEY_ILLEGAL_REQUEST,
  MODE_ALL,
  MODE_CACHING,
  MODE_CONTROL,
  MODE_DPOFUA,
  MODE_RECOVERY,
  MODE_WRITE_PROTECTED,
  OP_MODE_SELECT_6,
  OP_MODE_SENSE_6,
  PC_CHANGEABLE,
  PC_CURRENT,
  PC_DEFAULT,
  PC_SAVED,
} from './regs';
import { bufferOf, cdbOf, fail, offer, ScsiTask, TASK_BUFFER_BYTES, unitOf } from './task';
import { unitDisk } from './unit';

/** Bytes of each page, its two header bytes included. */
const RECOVERY_BYTES: u32 = 12;
const CACHING_BYTES: u32 = 20;
const CONTROL_BYTES: u32 = 12;
/** The page can be saved. */
const PS: u8 = 0x80;
/** WCE and RCD of the caching page. */
const CHANGEABLE: u8 = 0x05;

export function modeSense(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const short = load<u8>(cdb) == OP_MODE_SENSE_6;
  const page = load<u8>(cdb, 2) & 0x3f;
  const control = load<u8>(cdb, 2) >>> 6;
  const subpage = load<u8>(cdb, 3);
  if (subpage != 0 && !(page == MODE_ALL && subpage == 0xff)) return invalidField(t);
  const at = bufferOf(t);
  const header: u32 = short ? 4 : 8;
  memory.fill(at, 0, TASK_BUFFER_BYTES);
  const long = !short && (load<u8>(cdb, 1) & CDB_LLBAA) != 0;
  const descriptor = (load<u8>(cdb, 1) & CDB_DBD) != 0 ? 0 : putDescriptor(t, at + header, short, long);
  let end = at + header + descriptor;
  const first = end;
  if (page == MODE_RECOVERY || page == MODE_ALL) end += putRecovery(end, control);
  if (page == MODE_CACHING || page == MODE_ALL) end += putCaching(t, end, control);
  if (page == MODE_CONTROL || page == MODE_ALL) end += putControl(end, control);
  if (end == first) return invalidField(t);
  const bytes = <u32>(end - at);
  const isProtected = unitDisk(unitOf(t)).readOnly != 0;
  const device = <u8>(isProtected ? MODE_WRITE_PROTECTED | MODE_DPOFUA : MODE_DPOFUA);
  if (short) {
    store<u8>(at, <u8>(bytes - 1));
    store<u8>(at, device, 2);
    store<u8>(at, <u8>descriptor, 3);
    offer(t, DATA_IN, min<u32>(load<u8>(cdb, 4), bytes));
  } else {
    put16(at, bytes - 2);
    store<u8>(at, device, 3);
    store<u8>(at, long ? 1 : 0, 4);
    put16(at + 6, descriptor);
    offer(t, DATA_IN, min<u32>(get16(cdb + 7), bytes));
  }
}

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** One block descriptor, short or long (SBC-2 6.3.2). */
function putDescriptor(t: ScsiTask, at: usize, short: bool, long: bool): u32 {
  const disk = unitDisk(unitOf(t));
  const bytes: u32 = (<u32>1) << disk.sectorShift;
  if (long) {
    put64(at, disk.sectors);
    put32(at + 12, bytes);
    return 16;
  }
  put32(at, disk.sectors > 0xffffffff ? 0xffffffff : <u32>disk.sectors);
  put24(at + 5, bytes);
  return 8;
}

/** Automatic reallocation of both kinds, eight retries. */
function putRecovery(at: usize, control: u32): u32 {
  store<u8>(at, MODE_RECOVERY | PS);
  store<u8>(at, RECOVERY_BYTES - 2, 1);
  if (control != PC_CHANGEABLE) {
    store<u8>(at, 0xc0, 2);
    store<u8>(at, 8, 3);
    store<u8>(at, 8, 8);
  }
  return RECOVERY_BYTES;
}

function putCaching(t: ScsiTask, at: usize, control: u32): u32 {
  const u = unitOf(t);
  store<u8>(at, MODE_CACHING | PS);
  store<u8>(at, CACHING_BYTES - 2, 1);
  let flags: u32 = CHANGEABLE;
  if (control == PC_CURRENT) flags = u.caching;
  else if (control == PC_SAVED) flags = u.savedCaching;
  else if (control == PC_DEFAULT) flags = unitDisk(u).writeCache != 0 ? CACHING_WCE : 0;
  store<u8>(at, <u8>flags, 2);
  return CACHING_BYTES;
}

/** Unrestricted reordering, no busy timeout (SPC-3 7.4.6). */
function putControl(at: usize, control: u32): u32 {
  store<u8>(at, MODE_CONTROL | PS);
  store<u8>(at, CONTROL_BYTES - 2, 1);
  if (control != PC_CHANGEABLE) {
    store<u8>(at, 0x10, 3);
    put16(at + 8, 0xffff);
  }
  return CONTROL_BYTES;
}

export function modeSelect(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const bytes: u32 = load<u8>(cdb) == OP_MODE_SELECT_6 ? load<u8>(cdb, 4) : get16(cdb + 7);
  if (bytes > TASK_BUFFER_BYTES) return fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
  offer(t, DATA_OUT, bytes);
}

/** The parameter list is here: header, at most one block descriptor, pages. Nothing changes unless all is right. */
export function takeModeList(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const at = bufferOf(t);
  const short = load<u8>(cdb) == OP_MODE_SELECT_6;
  const header: u32 = short ? 4 : 8;
  if (t.length < header) return truncated(t);
  const descriptor: u32 = short ? load<u8>(at, 3) : get16(at + 6);
  const long = !short && (load<u8>(at, 4) & 1) != 0;
  if (descriptor != 0 && descriptor != <u32>(long ? 16 : 8)) return invalidParameter(t);
  if (t.length < header + descriptor) return truncated(t);
  if (descriptor != 0 && !isOurs(t, at + header, long)) return invalidParameter(t);
  let caching = unitOf(t).caching;
  let page = at + header + descriptor;
  const end = at + t.length;
  while (page < end) {
    if (page + 2 > end) return truncated(t);
    const bytes = pageBytes(load<u8>(page) & 0x7f);
    if (bytes == 0 || <u32>load<u8>(page, 1) + 2 != bytes) return invalidParameter(t);
    if (page + bytes > end) return truncated(t);
    if (!isAllowed(page, bytes)) return invalidParameter(t);
    if ((load<u8>(page) & 0x3f) == MODE_CACHING) caching = load<u8>(page, 2);
    page += bytes;
  }
  unitOf(t).caching = caching;
  if ((load<u8>(cdb, 1) & CDB_SP) != 0) unitOf(t).savedCaching = caching;
}

function truncated(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
}

/** A block descriptor may only say what is: the block length, and the number of blocks or "all". */
function isOurs(t: ScsiTask, at: usize, long: bool): bool {
  const disk = unitDisk(unitOf(t));
  const bytes: u32 = (<u32>1) << disk.sectorShift;
  if (long) return get32(at + 12) == bytes;
  return get24(at + 5) == bytes;
}

function pageBytes(page: u32): u32 {
  if (page == MODE_RECOVERY) return RECOVERY_BYTES;
  if (page == MODE_CACHING) return CACHING_BYTES;
  return page == MODE_CONTROL ? CONTROL_BYTES : 0;
}

/** Whether a page asks for nothing but what can be changed. */
function isAllowed(page: usize, bytes: u32): bool {
  const code = load<u8>(page) & 0x3f;
  for (let i: u32 = 2; i < bytes; i++) {
    const value = load<u8>(page + i);
    let fixed: u8 = 0;
    let free: u8 = 0;
    if (code == MODE_CACHING && i == 2) free = CHANGEABLE;
    if (code == MODE_RECOVERY) fixed = i == 2 ? 0xc0 : i == 3 || i == 8 ? 8 : 0;
    if (code == MODE_CONTROL) fixed = i == 3 ? 0x10 : i == 8 || i == 9 ? 0xff : 0;
    if ((value & ~free) != fixed) return false;
  }
  return true;
}
