// What an optical drive tells of itself and of the medium (references in mmc-regs.ts): table of contents, disc and
// track information, DVD structures, events, mechanism. The medium has one session with one track, which holds data.

import { EVENT_NEW_MEDIA, isMounted, SETTLING_CHANGED, SETTLING_NOT_READY } from '../media/drive';
import { Disk } from '../media/media';
import { get16, get32, put16, put32 } from './bytes';
import { noMedium } from './mmc';
import {
  ASC_INCOMPATIBLE_MEDIUM,
  CD_BLOCKS,
  CD_FRAMES,
  CD_PREGAP,
  CD_SECONDS,
  DVD_COPYRIGHT,
  DVD_FIRST_SECTOR,
  DVD_LAYER_BYTES,
  DVD_LIST,
  DVD_MANUFACTURING,
  DVD_PHYSICAL,
  EVENT_BYTES,
  EVENT_MEDIA,
  EVENT_MEDIA_BIT,
  EVENT_NONE_AVAILABLE,
  EVENT_POLLED,
  TOC_FULL,
  TOC_MSF,
  TOC_SESSIONS,
  TOC_TRACKS,
  TRACK_DATA,
  TRACK_LEAD_OUT,
} from './mmc-regs';
import { ASC_INVALID_CDB_FIELD, ASC_LBA_RANGE, DATA_IN, KEY_ILLEGAL_REQUEST, STATUS_BUSY } from './regs';
import { bufferOf, cdbOf, claimBlock, fail, failAt, offer, ScsiTask, unitOf } from './task';
import { unitBlock, unitDisk } from './unit';

/** Most minutes that an address can say. */
const MINUTES_MAX: u32 = 255;
const DISC_BYTES: u32 = 34;
const TRACK_BYTES: u32 = 36;

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** Whether the medium, if there is one, is a DVD. */
export function isDvd(disk: Disk): bool {
  return disk.sectors > <u64>CD_BLOCKS;
}

/** The block as minutes, seconds and frames, in the last three of four bytes; on a DVD as far as they go. */
function putMsf(at: usize, lba: u32): void {
  const frames = lba + CD_PREGAP;
  const minutes = frames / (CD_SECONDS * CD_FRAMES);
  store<u8>(at, 0);
  store<u8>(at, <u8>min(minutes, MINUTES_MAX), 1);
  store<u8>(at, <u8>(minutes > MINUTES_MAX ? CD_SECONDS - 1 : (frames / CD_FRAMES) % CD_SECONDS), 2);
  store<u8>(at, <u8>(minutes > MINUTES_MAX ? CD_FRAMES - 1 : frames % CD_FRAMES), 3);
}

/** READ TOC. The format stands in byte 2, or where older software left that 0 in the upper bits of byte 9. */
export function readToc(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const room = get16(cdb + 7);
  let format: u32 = load<u8>(cdb, 2) & 0xf;
  if (format == 0) format = load<u8>(cdb, 9) >>> 6;
  const msf = (load<u8>(cdb, 1) & TOC_MSF) != 0;
  const first: u32 = load<u8>(cdb, 6);
  const blocks = <u32>unitDisk(unitOf(t)).sectors;
  const at = bufferOf(t);
  let end = at + 4;
  store<u8>(at, 1, 2);
  store<u8>(at, 1, 3);
  if (format == TOC_TRACKS && (first <= 1 || first == TRACK_LEAD_OUT)) {
    if (first <= 1) end = putTrack(end, 1, 0, msf);
    end = putTrack(end, TRACK_LEAD_OUT, blocks, msf);
  } else if (format == TOC_SESSIONS) {
    end = putTrack(end, 1, 0, msf);
  } else if (format == TOC_FULL && first <= 1) {
    end = putFull(end, blocks);
  } else return invalidField(t);
  put16(at, <u32>(end - at) - 2);
  offer(t, DATA_IN, min<u32>(room, <u32>(end - at)));
}

function putTrack(at: usize, track: u32, lba: u32, msf: bool): usize {
  store<u8>(at, 0);
  store<u8>(at, TRACK_DATA, 1);
  store<u8>(at, <u8>track, 2);
  store<u8>(at, 0, 3);
  if (msf) putMsf(at + 4, lba);
  else put32(at + 4, lba);
  return at + 8;
}

/** The entries of the lead-in: first track, last track, lead-out, and the track itself. */
function putFull(at: usize, blocks: u32): usize {
  at = putPoint(at, 0xa0);
  store<u8>(at - 3, 1);
  at = putPoint(at, 0xa1);
  store<u8>(at - 3, 1);
  at = putPoint(at, 0xa2);
  putMsf(at - 4, blocks);
  at = putPoint(at, 1);
  putMsf(at - 4, 0);
  return at;
}

function putPoint(at: usize, point: u32): usize {
  memory.fill(at, 0, 11);
  store<u8>(at, 1);
  store<u8>(at, TRACK_DATA, 1);
  store<u8>(at, <u8>point, 3);
  return at + 11;
}

/** READ DISC INFORMATION: a finalised disc of one session. */
export function discInformation(t: ScsiTask): void {
  const cdb = cdbOf(t);
  if ((load<u8>(cdb, 1) & 7) != 0) return invalidField(t);
  const at = bufferOf(t);
  memory.fill(at, 0, DISC_BYTES);
  put16(at, DISC_BYTES - 2);
  // The last session is complete, and so is the disc.
  store<u8>(at, 0x0e, 2);
  for (let i: u32 = 3; i <= 6; i++) store<u8>(at + i, 1);
  // Its use is not restricted.
  store<u8>(at, 0x20, 7);
  // No lead-in of a next session, no lead-out to come.
  store<u64>(at, u64.MAX_VALUE, 16);
  offer(t, DATA_IN, min<u32>(get16(cdb + 7), DISC_BYTES));
}

/** READ TRACK INFORMATION, by block, track or session. */
export function trackInformation(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const disk = unitDisk(unitOf(t));
  const kind = load<u8>(cdb, 1) & 3;
  const number = get32(cdb + 2);
  if (kind == 0 && <u64>number >= disk.sectors) return failAt(t, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE, number);
  if (kind == 3 || (kind != 0 && number != 1)) return invalidField(t);
  const at = bufferOf(t);
  memory.fill(at, 0, TRACK_BYTES);
  put16(at, TRACK_BYTES - 2);
  store<u8>(at, 1, 2);
  store<u8>(at, 1, 3);
  // A data track, of mode 1.
  store<u8>(at, 0x04, 5);
  store<u8>(at, 0x01, 6);
  put32(at + 24, <u32>disk.sectors);
  offer(t, DATA_IN, min<u32>(get16(cdb + 7), TRACK_BYTES));
}

/**
 * READ DVD STRUCTURE: physical format, copyright, manufacturing information, and the list of these. It needs a DVD, but
 * for the list.
 */
export function dvdStructure(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const disk = unitDisk(unitOf(t));
  const format: u32 = load<u8>(cdb, 7);
  const room = get16(cdb + 8);
  const known = format == DVD_PHYSICAL || format == DVD_COPYRIGHT || format == DVD_MANUFACTURING;
  if (!known && format != DVD_LIST) return invalidField(t);
  if (format != DVD_LIST) {
    if (!isMounted(disk)) return noMedium(t);
    if (!isDvd(disk)) return fail(t, KEY_ILLEGAL_REQUEST, ASC_INCOMPATIBLE_MEDIUM);
    // There is one layer.
    if (load<u8>(cdb, 6) != 0) return invalidField(t);
  }
  if (!claimBlock(t)) {
    t.status = STATUS_BUSY;
    return;
  }
  const at = unitBlock(unitOf(t));
  memory.fill(at, 0, DVD_LAYER_BYTES + 4);
  let bytes: u32 = DVD_LAYER_BYTES;
  if (format == DVD_LIST) bytes = putStructures(at + 4);
  else if (format == DVD_COPYRIGHT) bytes = 4;
  else if (format == DVD_PHYSICAL) putLayer(at + 4, <u32>disk.sectors);
  put16(at, bytes + 2);
  offer(t, DATA_IN, min<u32>(room, bytes + 4));
}

/** A DVD-ROM of 120 mm, one layer, read at 10 Mbit/s. */
function putLayer(at: usize, sectors: u32): void {
  store<u8>(at, 0x01);
  store<u8>(at, 0x02, 1);
  store<u8>(at, 0x01, 2);
  put32(at + 4, DVD_FIRST_SECTOR);
  put32(at + 8, DVD_FIRST_SECTOR + sectors - 1);
}

/** Four bytes for each format that can be read: its number, that it can be, and its length. */
function putStructures(at: usize): u32 {
  putStructure(at, DVD_PHYSICAL, DVD_LAYER_BYTES + 4);
  putStructure(at + 4, DVD_COPYRIGHT, 8);
  putStructure(at + 8, DVD_MANUFACTURING, DVD_LAYER_BYTES + 4);
  return 12;
}

function putStructure(at: usize, format: u32, bytes: u32): void {
  store<u8>(at, <u8>format);
  store<u8>(at, 0x40, 1);
  put16(at + 2, bytes);
}

/** GET EVENT STATUS NOTIFICATION, polled: the media class is the one that there is. */
export function eventStatus(t: ScsiTask): void {
  const cdb = cdbOf(t);
  // Asynchronous notification would need queued commands.
  if ((load<u8>(cdb, 1) & EVENT_POLLED) == 0) return invalidField(t);
  const asked = (load<u8>(cdb, 4) & EVENT_MEDIA_BIT) != 0;
  const room = get16(cdb + 7);
  const disk = unitDisk(unitOf(t));
  const at = bufferOf(t);
  memory.fill(at, 0, EVENT_BYTES);
  const bytes: u32 = asked ? EVENT_BYTES : 4;
  put16(at, bytes - 2);
  store<u8>(at, asked ? EVENT_MEDIA : EVENT_NONE_AVAILABLE, 2);
  store<u8>(at, EVENT_MEDIA_BIT, 3);
  store<u8>(at, <u8>disk.event, 4);
  store<u8>(at, <u8>((disk.open != 0 ? 1 : 0) | (disk.loaded != 0 ? 2 : 0)), 5);
  // Whoever has room for the header alone has not heard of the event.
  if (asked && room > 4) {
    // NewMedia says that the medium is ready to be accessed ([1], media events): only the unit attention is left.
    const ready = disk.event == EVENT_NEW_MEDIA && disk.settling == SETTLING_NOT_READY;
    if (ready && unitOf(t).virtual == 0) disk.settling = SETTLING_CHANGED;
    disk.event = 0;
  }
  offer(t, DATA_IN, min(room, bytes));
}

/** MECHANISM STATUS: not a changer, at rest. */
export function mechanismStatus(t: ScsiTask): void {
  const at = bufferOf(t);
  memory.fill(at, 0, 8);
  if (unitDisk(unitOf(t)).open != 0) store<u8>(at, 0x10, 1);
  offer(t, DATA_IN, min<u32>(get16(cdbOf(t) + 8), 8));
}
