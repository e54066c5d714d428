// An optical drive: a disk whose medium comes and goes, in a tray that software and the host move and that software can
// lock. What SCSI and ATAPI tell of it is in assembly/scsi/; here is what happens to the medium.
//
// [1] MMC-3, T10/1363-D revision 10g: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, media events
import { reserveTracked } from '../bus/arena';
import { markDirty } from '../bus/dirty';
import { AT_REQUEST_USED, AT_REQUESTS, REQUEST_STRIDE } from '../bus/layout';
import { DISK_HOST, DISK_RAM, MEDIA_GONE, NOTICE_TRAY } from './codes';
import { Disk, diskOf, enterDisk, failAt, Request, STATE_FREE } from './media';
import { notice } from './notice';

/** A block of a CD or DVD that holds data: 2048 bytes. */
const BLOCK_SHIFT: u32 = 11;

/** Blocks of 2352 bytes that a READ CD makes, and one more. */
const BUFFER_BYTES: u32 = 28 * 2352;

/** Software has heard of the medium that is there, or that there is none. */
export const SETTLING_NONE: u32 = 0;
/** It finds the drive not ready once more. */
export const SETTLING_NOT_READY: u32 = 1;
/** It is told next that the medium may have changed. */
export const SETTLING_CHANGED: u32 = 2;

/** Media events, as GET EVENT STATUS NOTIFICATION codes them ([1]). */
const EVENT_EJECT_REQUEST: u32 = 1;
export const EVENT_NEW_MEDIA: u32 = 2;
const EVENT_MEDIA_REMOVAL: u32 = 3;

/** An empty drive with a closed tray; 0 when there is no room. */
export function createDrive(): u32 {
  const offset = enterDisk(DISK_HOST, BLOCK_SHIFT);
  if (offset == 0) return 0;
  const disk = changetype<Disk>(<usize>offset);
  disk.readOnly = 1;
  disk.optical = reserveTracked(BUFFER_BYTES, 16);
  return disk.optical != 0 ? offset : 0;
}

/** Where whole blocks of a CD are made, BUFFER_BYTES bytes; who writes there says so (dirty.ts). */
export function driveBuffer(disk: Disk): usize {
  return disk.optical;
}

/** Whether software can read a medium. */
export function isMounted(disk: Disk): bool {
  return disk.loaded != 0 && disk.open == 0;
}

/**
 * Lays a medium of `sectors` blocks into the drive; software hears of it when the tray is closed, or at once where it
 * is. A medium in RAM has zeroes in it. False: there is no memory, or it has no blocks.
 */
export function loadMedium(disk: Disk, kind: u32, sectors: u64): bool {
  assert(disk.optical != 0);
  if (sectors == 0) return false;
  if (kind == DISK_RAM) {
    if (sectors > <u64>(u32.MAX_VALUE >>> BLOCK_SHIFT)) return false;
    const bytes = (<u32>sectors) << BLOCK_SHIFT;
    if (bytes > disk.room) {
      const data = reserveTracked(bytes, 4096);
      if (data == 0) return false;
      disk.data = data;
      disk.room = bytes;
    }
    markDirty(disk.data, bytes);
    memory.fill(disk.data, 0, bytes);
  }
  unloadMedium(disk);
  disk.kind = kind;
  disk.sectors = sectors;
  disk.loaded = 1;
  if (disk.open == 0) mediumCame(disk);
  return true;
}

/** Takes the medium out. Reads that are under way find it gone. */
export function unloadMedium(disk: Disk): void {
  if (disk.loaded == 0) return;
  const end: usize = load<u32>(AT_REQUEST_USED);
  for (let at: usize = AT_REQUESTS; at < end; at += REQUEST_STRIDE) {
    const r = changetype<Request>(at);
    if (r.state != STATE_FREE && diskOf(r) == disk) failAt(r, disk, MEDIA_GONE, 0);
  }
  if (disk.open == 0) mediumWent(disk);
  disk.loaded = 0;
  disk.sectors = 0;
}

/** Opens or closes the tray. */
export function moveTray(disk: Disk, open: bool): void {
  if ((disk.open != 0) == open) return;
  disk.open = open ? 1 : 0;
  if (disk.loaded != 0) {
    if (open) mediumWent(disk);
    else mediumCame(disk);
  }
  notice(NOTICE_TRAY, disk.id, open ? 1 : 0, 0);
}

/** The host's button: what is locked stays closed, and software is asked to open it ([1], media events). */
export function pressEject(disk: Disk): bool {
  if (disk.open == 0 && disk.locked != 0) {
    disk.event = EVENT_EJECT_REQUEST;
    return false;
  }
  moveTray(disk, true);
  return true;
}

/** Software need not hear of what came. */
export function forgetChange(disk: Disk): void {
  disk.settling = SETTLING_NONE;
  disk.event = 0;
}

function mediumCame(disk: Disk): void {
  disk.settling = SETTLING_NOT_READY;
  disk.event = EVENT_NEW_MEDIA;
}

function mediumWent(disk: Disk): void {
  disk.settling = SETTLING_NONE;
  disk.event = EVENT_MEDIA_REMOVAL;
}
