// Format NVM ([1] 5.23) and firmware ([1] 5.12, 5.13; references in controller.ts).
import { moveBuffer, moveEnd } from '../bus/mover';
import { MEDIA_ZERO } from '../media/codes';
import {
  Command,
  commandAt,
  diskAt,
  FIRMWARE_SLOTS,
  IO_COMMANDS,
  isActive,
  Nvme,
  namespaceAt,
} from './controller';
import { walkData } from './data';
import { raiseEvent } from './events';
import { revision } from './identify';
import { begin, CHUNK_SECTORS } from './io';
import { complete } from './queue';
import {
  NVME_COMMIT_ACTIVATE,
  NVME_COMMIT_NOW,
  NVME_COMMIT_STORE,
  NVME_EVENT_FIRMWARE,
  NVME_EVENT_NOTICE,
  NVME_FIRMWARE_IMAGE,
  NVME_FIRMWARE_SLOT,
  NVME_FORMAT_IN_PROGRESS,
  NVME_IMAGE_BYTES_MAX,
  NVME_IMAGE_MAGIC,
  NVME_INVALID_FIELD,
  NVME_INVALID_FORMAT,
  NVME_INVALID_NAMESPACE,
  NVME_OVERLAPPING,
  NVME_SEQUENCE,
  NVME_SUCCESS,
} from './regs';

const ALL_NAMESPACES: u32 = 0xffffffff;

/** Checks what is asked of every namespace concerned, then erases them in turn: Command.at is the one in hand. */
export function startFormat(d: Nvme, c: Command): void {
  const format = c.cdw10 & 15;
  const erase = (c.cdw10 >>> 9) & 7;
  // Protection information, metadata at the end of the data and erasing a key are not there.
  if ((c.cdw10 & 0x1f0) != 0 || erase > 1) return complete(d, c, NVME_INVALID_FIELD);
  const all = c.nsid == ALL_NAMESPACES;
  if (!all && c.nsid - 1 >= d.namespaceCount) return complete(d, c, NVME_INVALID_NAMESPACE);
  if (!all && !isActive(d, c.nsid)) return complete(d, c, NVME_INVALID_FIELD);
  for (let id: u32 = 1; id <= d.namespaceCount; id++) {
    if (!concerns(d, c, id)) continue;
    const formats: u32 = diskAt(namespaceAt(d, id)).sectorShift == 9 ? 2 : 1;
    if (format >= formats) return complete(d, c, NVME_INVALID_FORMAT);
    if (namespaceAt(d, id).formatting != 0) return complete(d, c, NVME_FORMAT_IN_PROGRESS);
  }
  if (isWorkedOn(d, c)) return complete(d, c, NVME_SEQUENCE);
  for (let id: u32 = 1; id <= d.namespaceCount; id++)
    if (concerns(d, c, id)) namespaceAt(d, id).formatting = 1;
  c.at = 0;
  c.sectors = 0;
  nextNamespace(d, c);
}

function concerns(d: Nvme, c: Command, id: u32): bool {
  return (c.nsid == ALL_NAMESPACES || c.nsid == id) && isActive(d, id);
}

/**
 * Whether commands are being processed for a namespace concerned, which go by the blocks that it has now: "may be
 * aborted; if aborted, Command Sequence Error" ([1] 5.23).
 */
function isWorkedOn(d: Nvme, c: Command): bool {
  for (let i: u32 = 0; i < IO_COMMANDS; i++) {
    const other = commandAt(d, i);
    if (other.busy == 1 && concerns(d, c, other.nsid)) return true;
  }
  return false;
}

function nextNamespace(d: Nvme, c: Command): void {
  c.at++;
  while (c.at <= d.namespaceCount && !concerns(d, c, c.at)) c.at++;
  if (c.at > d.namespaceCount) return complete(d, c, NVME_SUCCESS);
  eraseFrom(d, c, 0);
}

function eraseFrom(d: Nvme, c: Command, sector: u64): void {
  const n = namespaceAt(d, c.at);
  const left = diskAt(n).sectors - sector;
  begin(d, c, n, MEDIA_ZERO, sector, left > CHUNK_SECTORS ? CHUNK_SECTORS : <u32>left);
}

/** A stretch was erased. */
export function formatNext(d: Nvme, c: Command, status: u32): void {
  const n = namespaceAt(d, c.at);
  if (status != NVME_SUCCESS) {
    endFormat(d, c);
    return complete(d, c, status);
  }
  const next = c.sector + c.sectors;
  if (next < diskAt(n).sectors) return eraseFrom(d, c, next);
  n.lbaShift = diskAt(n).sectorShift == 9 && (c.cdw10 & 15) == 1 ? 12 : diskAt(n).sectorShift;
  n.formatting = 0;
  nextNamespace(d, c);
}

/** The rest stays as it is. */
export function endFormat(d: Nvme, c: Command): void {
  for (let id: u32 = 1; id <= d.namespaceCount; id++)
    if (concerns(d, c, id)) namespaceAt(d, id).formatting = 0;
}

/** Firmware Image Download: pieces in ascending order, without gaps. */
export function downloadFirmware(d: Nvme, c: Command): u32 {
  if (c.cdw10 >= <u32>NVME_IMAGE_BYTES_MAX >>> 2 || c.cdw11 >= <u32>NVME_IMAGE_BYTES_MAX >>> 2)
    return NVME_INVALID_FIELD;
  const bytes = (c.cdw10 + 1) << 2;
  const offset = c.cdw11 << 2;
  if (offset + bytes > <u32>NVME_IMAGE_BYTES_MAX) return NVME_INVALID_FIELD;
  // A download from the beginning begins another image.
  if (offset != 0 && offset < d.firmwareBytes) return NVME_OVERLAPPING;
  if (offset > d.firmwareBytes) return NVME_INVALID_FIELD;
  moveBuffer(<usize>d.firmware + offset, false);
  const status = walkData(d, c, bytes, bytes, false);
  if (status != NVME_SUCCESS) return status;
  moveEnd();
  d.firmwareBytes = offset + bytes;
  return NVME_SUCCESS;
}

/** Firmware Commit: the image goes into a slot, a slot becomes the active one, now or with the next reset. */
export function commitFirmware(d: Nvme, c: Command): u32 {
  const action = (c.cdw10 >>> 3) & 7;
  let slot = c.cdw10 & 7;
  if (action > <u32>NVME_COMMIT_NOW) return NVME_INVALID_FIELD;
  if (slot > FIRMWARE_SLOTS) return NVME_FIRMWARE_SLOT;
  const stores =
    action != <u32>NVME_COMMIT_ACTIVATE && !(action == <u32>NVME_COMMIT_NOW && d.firmwareBytes == 0);
  if (slot == 0) {
    // The controller chooses: not the active one, as long as there is another.
    if (!stores) return NVME_FIRMWARE_SLOT;
    slot = d.firmwareSlot == FIRMWARE_SLOTS ? 1 : d.firmwareSlot + 1;
  }
  if (stores) {
    if (d.firmwareBytes < 12 || load<u32>(d.firmware) != <u32>NVME_IMAGE_MAGIC) return NVME_FIRMWARE_IMAGE;
    const text = load<u64>(d.firmware, 4);
    if (text == 0) return NVME_FIRMWARE_IMAGE;
    if (slot == 1) d.revision1 = text;
    else if (slot == 2) d.revision2 = text;
    else d.revision3 = text;
    d.firmwareBytes = 0;
  } else if (revision(d, slot) == 0) {
    return NVME_FIRMWARE_IMAGE;
  }
  if (action != <u32>NVME_COMMIT_STORE) d.firmwareNext = slot;
  if (action == <u32>NVME_COMMIT_NOW) {
    d.firmwareSlot = slot;
    raiseEvent(d, NVME_EVENT_NOTICE, NVME_EVENT_FIRMWARE);
  }
  return NVME_SUCCESS;
}
