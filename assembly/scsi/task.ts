// A task: one command from its descriptor block to its status, for any host adapter. The adapter fills in
// the upper fields, calls scsiStart(), and does what `state` says:
//
//   TASK_WAIT   a medium is at work: hand its events to scsiMediaData() and scsiMediaDone()
//   TASK_DATA   the data phase is due: `length` bytes in `direction`. Move them, in as many pieces as the
//               bus likes, each between scsiMove() and scsiMoved(), then call scsiDataEnd()
//   TASK_DONE   `status` is valid, and scsiSense() where it is CHECK CONDITION
import { Device } from '../bus/device';
import { moveBuffer, moveCompare, moveDiffers, moveEnd, moveInside, moveRequest } from '../bus/mover';
import {
  MEDIA_ERROR,
  MEDIA_FLUSH,
  MEDIA_GONE,
  MEDIA_NO_SPACE,
  MEDIA_OK,
  MEDIA_PENDING,
  MEDIA_RANGE,
  MEDIA_READ,
  MEDIA_READ_ONLY,
  MEDIA_VERIFY,
  MEDIA_WRITE,
} from '../media/codes';
import { driveBuffer } from '../media/drive';
import { beginRequest, dropRequest, endRequest, finishRequest, Request } from '../media/media';
import { startCommand, takeParameters } from './command';
import { noMedium } from './mmc';
import { composeBlocks } from './mmc-read';
import { nextRange } from './range';
import {
  ASC_LBA_RANGE,
  ASC_MISCOMPARE,
  ASC_PARAMETER_LENGTH,
  ASC_READ_ERROR,
  ASC_SPACE_FAILED,
  ASC_WRITE_ERROR,
  ASC_WRITE_PROTECTED,
  DATA_IN,
  DATA_NONE,
  DATA_OUT,
  KEY_DATA_PROTECT,
  KEY_ILLEGAL_REQUEST,
  KEY_MEDIUM_ERROR,
  KEY_MISCOMPARE,
  KEY_NO_SENSE,
  SENSE_BYTES,
  STATUS_BUSY,
  STATUS_CHECK_CONDITION,
  STATUS_GOOD,
} from './regs';
import { clearSense, putSense, ScsiUnit, unitAt, unitBlock, unitDisk } from './unit';

export const TASK_DONE: u32 = 0;
export const TASK_WAIT: u32 = 1;
export const TASK_DATA: u32 = 2;

/** Bytes that the adapter provides at `buffer` for parameter data. */
export const TASK_BUFFER_BYTES: u32 = 512;

/** The data of the initiator is compared, and was found to differ. */
export const COMPARES_YES: u32 = 1;
const COMPARES_DIFFERS: u32 = 2;

/** What follows once the ranges of a command are through. */
export const AFTER_VERIFY: u32 = 1;
export const AFTER_FLUSH: u32 = 2;

@unmanaged
export class ScsiTask {
  // The adapter's to fill in.
  /** Offset of the adapter, and the tag that its media requests carry. */
  device: u32;
  tag: u32;
  /** Offset of the logical unit, 0: the target has none at this number. */
  unit: u32;
  /** The numbers of the units that the target has, a bit each (REPORT LUNS). */
  units: u32;
  /** Offset of TASK_BUFFER_BYTES bytes. */
  buffer: u32;
  /** The descriptor block, zeroes behind its end. */
  cdbLow: u64;
  cdbHigh: u64;

  // The adapter's to read.
  state: u32;
  /** DATA_*, and the bytes that the target will move. */
  direction: u32;
  length: u32;
  /** Bytes that were moved, less those behind the place where a medium failed. */
  moved: u32;
  status: u32;

  // The target's own.
  /** Offset of the media request in flight, 0: none. */
  request: u32;
  /** The operation and what is left of the current range, in blocks. */
  operation: u32;
  after: u32;
  lba: u64;
  left: u64;
  /** Of the transfer as a whole, for what comes after it. */
  firstLba: u64;
  blocks: u64;
  /** UNMAP: ranges still to do, in the buffer. */
  ranges: u32;
  /**
   * Non-zero while this task owns the unit's block (WRITE SAME, READ DVD STRUCTURE), or the drive's buffer (READ CD).
   */
  ownsBlock: u32;
  /** Non-zero while this task formats the unit. */
  formats: u32;
  /** READ CD of more than data: CD_* of what is asked for of a block (mmc-read.ts). */
  fields: u32;
  /** VERIFY with BYTCHK: COMPARES_* of the initiator's data and the medium's. */
  compares: u32;
  senseKey: u32;
  senseCode: u32;
  senseValid: u32;
  senseInformation: u32;
}

export function cdbOf(t: ScsiTask): usize {
  return changetype<usize>(t) + offsetof<ScsiTask>('cdbLow');
}

export function bufferOf(t: ScsiTask): usize {
  return <usize>t.buffer;
}

export function unitOf(t: ScsiTask): ScsiUnit {
  return unitAt(t.unit);
}

/** Takes up a command. */
export function scsiStart(t: ScsiTask): void {
  t.state = TASK_DONE;
  t.direction = DATA_NONE;
  t.length = 0;
  t.moved = 0;
  t.status = STATUS_GOOD;
  t.request = 0;
  t.after = 0;
  t.left = 0;
  t.ranges = 0;
  t.ownsBlock = 0;
  t.formats = 0;
  t.fields = 0;
  t.compares = 0;
  t.senseKey = KEY_NO_SENSE;
  t.senseValid = 0;
  startCommand(t);
}

/** A medium is ready to move data, or did what needs none. */
export function scsiMediaData(t: ScsiTask, r: Request): void {
  assert(t.request == <u32>changetype<usize>(r));
  if (t.direction != DATA_NONE && t.ownsBlock == 0 && t.ranges == 0 && isTransfer(r.operation)) {
    t.state = TASK_DATA;
    return;
  }
  if (t.fields != 0) composeBlocks(t, r, driveBuffer(unitDisk(unitOf(t))));
  else if (r.operation == MEDIA_WRITE) repeatBlock(t, r);
  finish(t, r);
}

/** A medium has finished late. */
export function scsiMediaDone(t: ScsiTask, r: Request): void {
  assert(t.request == <u32>changetype<usize>(r));
  const status = r.status;
  const sector = r.errorSector;
  const operation = r.operation;
  if (status != MEDIA_OK && isTransfer(operation)) {
    const good = (sector - r.sector) << unitDisk(unitOf(t)).sectorShift;
    if (<u64>t.moved > good) t.moved = <u32>good;
  }
  endRequest(r);
  t.request = 0;
  if (status != MEDIA_OK) return failMedia(t, operation, status, sector);
  if (t.compares == COMPARES_DIFFERS) return fail(t, KEY_MISCOMPARE, ASC_MISCOMPARE);
  // The blocks were made: now their data phase is due.
  if (t.fields != 0) t.state = TASK_DATA;
  else nextRange(t);
}

/** Prepares the mover for bytes `offset` and following of the data phase. */
export function scsiMove(t: ScsiTask, offset: u32): void {
  const toMemory = t.direction == DATA_IN;
  if (t.compares != 0) moveCompare(changetype<Request>(<usize>t.request), offset);
  else if (t.request != 0) moveRequest(changetype<Request>(<usize>t.request), offset, toMemory);
  else if (t.fields != 0) moveBuffer(driveBuffer(unitDisk(unitOf(t))) + offset, toMemory);
  else if (t.ownsBlock != 0) moveBuffer(unitBlock(unitOf(t)) + offset, toMemory);
  else moveBuffer(bufferOf(t) + offset, toMemory);
}

/** Ends what scsiMove() began; false when the medium failed: the target then ends the data phase. */
export function scsiMoved(t: ScsiTask): bool {
  const ended = moveEnd() == MEDIA_OK;
  if (moveDiffers()) t.compares = COMPARES_DIFFERS;
  return ended;
}

/** How many of `bytes` bytes on offer the target takes: a disk writes whole blocks only. */
export function scsiTake(t: ScsiTask, bytes: u32): u32 {
  if (bytes >= t.length) return t.length;
  if (t.direction != DATA_OUT || t.request == 0) return bytes;
  return bytes & ~(((<u32>1) << unitDisk(unitOf(t)).sectorShift) - 1);
}

/** The data phase is over after `moved` bytes. */
export function scsiDataEnd(t: ScsiTask, moved: u32): void {
  assert(t.state == TASK_DATA && moved <= t.length);
  t.moved = moved;
  t.state = TASK_DONE;
  if (t.request != 0) return finish(t, changetype<Request>(<usize>t.request));
  if (t.direction != DATA_OUT) return release(t);
  if (moved < t.length) fail(t, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
  else takeParameters(t);
}

/** Gives the task up at any moment. */
export function scsiAbort(t: ScsiTask): void {
  if (t.request != 0) dropRequest(changetype<Request>(<usize>t.request));
  t.request = 0;
  release(t);
  t.state = TASK_DONE;
}

/** Writes SENSE_BYTES of sense data; the unit then forgets them, as after a REQUEST SENSE. */
export function scsiSense(t: ScsiTask, at: usize): u32 {
  putSense(at, t.senseKey, t.senseCode, t.senseValid != 0, t.senseInformation);
  if (t.unit != 0) clearSense(unitOf(t));
  return SENSE_BYTES;
}

/** Ends the task with CHECK CONDITION. */
export function fail(t: ScsiTask, key: u32, code: u32): void {
  t.state = TASK_DONE;
  t.status = STATUS_CHECK_CONDITION;
  t.senseKey = key;
  t.senseCode = code;
  t.senseValid = 0;
  t.senseInformation = 0;
  release(t);
  if (t.unit != 0) keepSense(t);
}

/** As fail(), with a block address in the information field where it fits (SPC-3 4.5.3). */
export function failAt(t: ScsiTask, key: u32, code: u32, lba: u64): void {
  fail(t, key, code);
  if (lba > 0xffffffff) return;
  t.senseValid = 1;
  t.senseInformation = <u32>lba;
  if (t.unit != 0) keepSense(t);
}

/** The data phase is due, from or to the buffer. */
export function offer(t: ScsiTask, direction: u32, bytes: u32): void {
  t.direction = direction;
  t.length = bytes;
  t.state = bytes > 0 ? TASK_DATA : TASK_DONE;
}

/** Asks the medium; BUSY when too many requests are in flight. */
export function ask(t: ScsiTask, operation: u32, lba: u64, sectors: u32): void {
  const device = changetype<Device>(<usize>t.device);
  const request = beginRequest(device, unitDisk(unitOf(t)), operation, lba, sectors, t.tag);
  if (request == null) {
    t.state = TASK_DONE;
    t.status = STATUS_BUSY;
    release(t);
    return;
  }
  t.request = <u32>changetype<usize>(request);
  t.state = TASK_WAIT;
}

/** The task is through. */
export function succeed(t: ScsiTask): void {
  release(t);
  t.state = TASK_DONE;
}

function isTransfer(operation: u32): bool {
  return operation == MEDIA_READ || operation == MEDIA_WRITE;
}

function keepSense(t: ScsiTask): void {
  const u = unitOf(t);
  u.senseKey = t.senseKey;
  u.senseCode = t.senseCode;
  u.senseValid = t.senseValid;
  u.senseInformation = t.senseInformation;
}

/** Makes the unit's block the task's; false while another task has it. */
export function claimBlock(t: ScsiTask): bool {
  const u = unitOf(t);
  if (u.blockBusy != 0) return false;
  u.blockBusy = 1;
  t.ownsBlock = 1;
  return true;
}

/** Gives back what the task has of its unit. */
function release(t: ScsiTask): void {
  if (t.ownsBlock != 0) unitOf(t).blockBusy = 0;
  if (t.formats != 0) unitOf(t).formatting = 0;
  t.ownsBlock = 0;
  t.formats = 0;
}

/** WRITE SAME: the one block goes to every block of the request. */
function repeatBlock(t: ScsiTask, r: Request): void {
  const u = unitOf(t);
  const bytes: u32 = (<u32>1) << unitDisk(u).sectorShift;
  moveRequest(r, 0, false);
  for (let i: u32 = 0; i < r.sectors; i++) moveInside(unitBlock(u), bytes);
  moveEnd();
}

function finish(t: ScsiTask, r: Request): void {
  if (finishRequest(r) == MEDIA_PENDING) t.state = TASK_WAIT;
  else scsiMediaDone(t, r);
}

function failMedia(t: ScsiTask, operation: u32, status: u32, sector: u64): void {
  if (status == MEDIA_READ_ONLY) return fail(t, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
  if (status == MEDIA_NO_SPACE) return fail(t, KEY_DATA_PROTECT, ASC_SPACE_FAILED);
  if (status == MEDIA_GONE) return noMedium(t);
  if (status == MEDIA_RANGE) return failAt(t, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE, sector);
  assert(status == MEDIA_ERROR);
  if (operation == MEDIA_READ || operation == MEDIA_VERIFY)
    failAt(t, KEY_MEDIUM_ERROR, ASC_READ_ERROR, sector);
  else if (operation == MEDIA_FLUSH) fail(t, KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
  else failAt(t, KEY_MEDIUM_ERROR, ASC_WRITE_ERROR, sector);
}
