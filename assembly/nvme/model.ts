// An NVMe controller: what assembly/dispatch.ts calls (references in controller.ts).
import { reserve } from '../bus/arena';
import { KIND_NVME } from '../bus/codes';
import { createDevice, Device, profileWord } from '../bus/device';
import { trackPages } from '../bus/dirty';
import { addMsix, msixRead, msixWrite } from '../bus/msix';
import { addBar, addMsi, addPowerManagement, createFunction, PciFunction, resetFunction } from '../bus/pci';
import { PCI_BAR_64 } from '../bus/pci-regs';
import { Disk, Request } from '../media/media';
import {
  ADMIN_COMMANDS,
  COMMAND_STRIDE,
  COMPLETIONS_STRIDE,
  checkLayout,
  commandAt,
  diskAt,
  ERROR_ENTRIES,
  EVENT_COALESCE,
  EVENT_READY,
  EVENT_RETRY,
  EVENT_SHUTDOWN,
  EVENT_STOPPED,
  EVENT_WORK,
  FEATURE_COUNT,
  IO_COMMANDS,
  NAMESPACE_STRIDE,
  Nvme,
  namespaceAt,
  PAGE,
  QUEUE_STRIDE,
  RANGE_BUFFERS,
  SCRATCH,
} from './controller';
import { raiseEvent } from './events';
import { makeFeatures } from './features';
import { endFormat } from './format';
import { FIRST_REVISION } from './identify';
import { coalesceTimeout, flushInterrupts } from './interrupt';
import { endMedia, giveUp, moveMedia, retry } from './io';
import { makeMemory } from './memory';
import { complete, work } from './queue';
import {
  dropFlush,
  readRegister,
  ready,
  resetRegisters,
  SHUTDOWN_TAG,
  shutDownDone,
  shutDownMedia,
  stopped,
  writeRegister,
} from './registers';
import {
  NVME_BAR,
  NVME_BAR_BYTES,
  NVME_CAP_AMS_WRR,
  NVME_CAP_AT_MSI,
  NVME_CAP_AT_MSIX,
  NVME_CAP_AT_PM,
  NVME_CAP_CQR,
  NVME_CAP_CSS_NVM,
  NVME_CAP_MPSMAX_SHIFT,
  NVME_CAP_NSSRS,
  NVME_CAP_TO_SHIFT,
  NVME_CLASS,
  NVME_EVENT_NAMESPACE,
  NVME_EVENT_NOTICE,
  NVME_IMAGE_BYTES_MAX,
  NVME_INVALID_NAMESPACE,
  NVME_MDTS_MAX,
  NVME_MSIX_PENDING,
  NVME_MSIX_TABLE,
  NVME_NAMESPACES_MAX,
  NVME_QUEUES_MAX,
  PROFILE_CACHE,
  PROFILE_ENTRIES,
  PROFILE_MDTS,
  PROFILE_MSI,
  PROFILE_MSIX,
  PROFILE_NAMESPACES,
  PROFILE_QUEUES,
  PROFILE_READY_US,
  PROFILE_SGL,
  PROFILE_STRIDE,
  PROFILE_WEIGHTED,
} from './regs';

export { Nvme } from './controller';

/** Pages of up to 64 KiB. */
const MPSMAX: u32 = 4;
/** One more entry than SCRATCH holds: a list's next address. */
const SCRATCH_BYTES: u32 = SCRATCH + 64;

/** Creates the controller that the profile in the scratch area describes; 0 when there is no room. */
export function create(line: u32): u32 {
  checkLayout();
  const queues = within(PROFILE_QUEUES, 1, NVME_QUEUES_MAX);
  const mdts = within(PROFILE_MDTS, 1, NVME_MDTS_MAX);
  const namespaces = within(PROFILE_NAMESPACES, 1, NVME_NAMESPACES_MAX);
  const queuesBytes = (queues + 1) * QUEUE_STRIDE;
  const completionsBytes = (queues + 1) * COMPLETIONS_STRIDE;
  const commandsBytes = (IO_COMMANDS + ADMIN_COMMANDS) * COMMAND_STRIDE;
  const errorBytes = ERROR_ENTRIES * 64;
  const namespacesBytes = (namespaces * NAMESPACE_STRIDE + 63) & ~63;
  const small = queuesBytes + completionsBytes + namespacesBytes + commandsBytes + errorBytes;
  const large = PAGE + RANGE_BUFFERS * PAGE + NVME_IMAGE_BYTES_MAX + 2 * (PAGE << mdts);
  const parts = reserve(large + small + FEATURE_COUNT * 8, PAGE);
  if (parts == 0) return 0;
  const device = createDevice(KIND_NVME, offsetof<Nvme>() + SCRATCH_BYTES, line);
  if (device === null) return 0;
  const d = changetype<Nvme>(device);
  d.page = parts;
  d.ranges = d.page + PAGE;
  d.firmware = d.ranges + RANGE_BUFFERS * PAGE;
  d.compare = d.firmware + NVME_IMAGE_BYTES_MAX;
  d.queues = d.compare + 2 * (PAGE << mdts);
  // The mover alone writes to these.
  trackPages(d.ranges, d.queues);
  d.completions0 = d.queues + queuesBytes;
  d.namespaces = d.completions0 + completionsBytes;
  d.commands0 = d.namespaces + namespacesBytes;
  d.errors = d.commands0 + commandsBytes;
  d.features = d.errors + errorBytes;
  d.queueCount = queues;
  d.mdts = mdts;
  d.namespaceCount = namespaces;
  claim(d);
  const f = createFunction(d, NVME_CLASS);
  if (f === null || !configure(d, f)) return 0;
  makeFeatures(d);
  d.powerCycles = 0;
  reset(d, 0);
  return <u32>changetype<usize>(d);
}

function within(word: u32, least: u32, most: u32): u32 {
  return max(least, min(profileWord(word), most));
}

/** What the registers say. */
function claim(d: Nvme): void {
  d.stride = within(PROFILE_STRIDE, 0, 4);
  d.sgl = profileWord(PROFILE_SGL);
  d.cache = profileWord(PROFILE_CACHE);
  d.readyDelay = profileWord(PROFILE_READY_US);
  d.vectors = 1;
  d.capLow = (within(PROFILE_ENTRIES, 2, 0x10000) - 1) | NVME_CAP_CQR;
  if (profileWord(PROFILE_WEIGHTED) != 0) d.capLow |= NVME_CAP_AMS_WRR;
  // TO counts half seconds, rounded up.
  d.capLow |= max<u32>(1, (d.readyDelay + 499_999) / 500_000) << NVME_CAP_TO_SHIFT;
  d.capHigh = d.stride | NVME_CAP_NSSRS | NVME_CAP_CSS_NVM | (MPSMAX << NVME_CAP_MPSMAX_SHIFT);
  d.firmwareSlot = 1;
  d.firmwareNext = 1;
  d.revision1 = FIRST_REVISION;
}

function configure(d: Nvme, f: PciFunction): bool {
  addBar(f, NVME_BAR, NVME_BAR_BYTES, PCI_BAR_64);
  if (!makeMemory(d, f)) return false;
  addPowerManagement(f, NVME_CAP_AT_PM, false);
  if (profileWord(PROFILE_MSI) != 0) addMsi(f, NVME_CAP_AT_MSI);
  if (profileWord(PROFILE_MSIX) == 0) return true;
  d.vectors = d.queueCount + 1;
  return addMsix(f, NVME_CAP_AT_MSIX, d.vectors, NVME_BAR, NVME_MSIX_TABLE, NVME_MSIX_PENDING);
}

/** Namespace `place` + 1 gets a disk, or loses it. Sectors between 512 and 4096 bytes have no format here. */
export function attach(d: Nvme, place: u32, unit: u32, disk: u32): bool {
  if (unit != 0 || place >= d.namespaceCount) return false;
  const shift: u32 = disk == 0 ? 9 : changetype<Disk>(<usize>disk).sectorShift;
  if (shift != 9 && shift != 12) return false;
  const n = namespaceAt(d, place + 1);
  if (n.disk == disk) return true;
  if (n.disk != 0) pullOut(d, place + 1);
  n.disk = disk;
  n.lbaShift = disk == 0 ? 0 : diskAt(n).sectorShift;
  d.changed |= 1 << place;
  raiseEvent(d, NVME_EVENT_NOTICE, NVME_EVENT_NAMESPACE);
  flushInterrupts(d);
  return true;
}

/** A namespace's disk has another size: a notice, and the log of changed namespaces. */
export function resized(d: Nvme, disk: u32): void {
  for (let nsid: u32 = 1; nsid <= d.namespaceCount; nsid++) {
    if (namespaceAt(d, nsid).disk != disk) continue;
    d.changed |= 1 << (nsid - 1);
    raiseEvent(d, NVME_EVENT_NOTICE, NVME_EVENT_NAMESPACE);
  }
}

/** What a namespace had with its medium ends: there is no such namespace any more. */
function pullOut(d: Nvme, nsid: u32): void {
  dropFlush(d, nsid);
  for (let i: u32 = 0; i < IO_COMMANDS + ADMIN_COMMANDS; i++) {
    const c = commandAt(d, i);
    if (c.busy != 1) continue;
    const formats =
      c.sq == 0 && namespaceAt(d, nsid).formatting != 0 && (c.nsid == nsid || c.nsid == 0xffffffff);
    if (c.sq == 0 ? !formats : c.nsid != nsid) continue;
    giveUp(d, c);
    if (formats) endFormat(d, c);
    complete(d, c, NVME_INVALID_NAMESPACE);
  }
  namespaceAt(d, nsid).formatting = 0;
}

export function read(d: Nvme, bar: u32, at: u32, size: u32): u32 {
  if (bar != <u32>NVME_BAR) return 0xffffffff;
  if (at >= <u32>NVME_MSIX_TABLE) return msixRead(d, at, size);
  if (size == 4 && (at & 3) == 0) return readRegister(d, at);
  const low = <u64>readRegister(d, at & ~3);
  const high = (at & 3) + size > 4 ? <u64>readRegister(d, (at & ~3) + 4) : 0;
  const value = <u32>(((high << 32) | low) >> ((at & 3) << 3));
  return size == 4 ? value : value & (((<u32>1) << (size << 3)) - 1);
}

/** Registers take dwords at dwords ([1] 3.1): what else is written there is dropped. */
export function write(d: Nvme, bar: u32, at: u32, size: u32, value: u32): void {
  if (bar != <u32>NVME_BAR) return;
  if (at >= <u32>NVME_MSIX_TABLE) msixWrite(d, at, size, value);
  else if (size == 4 && (at & 3) == 0) writeRegister(d, at, value);
}

export function event(d: Nvme, code: u32, tag: u32): void {
  if (code == EVENT_WORK) work(d);
  else if (code == EVENT_READY) ready(d);
  else if (code == EVENT_STOPPED) stopped(d);
  else if (code == EVENT_SHUTDOWN) shutDownDone(d);
  else if (code == EVENT_COALESCE) coalesceTimeout(d, tag);
  else {
    assert(code == EVENT_RETRY);
    retry(d);
  }
  flushInterrupts(d);
}

export function mediaData(d: Nvme, r: Request): void {
  if (r.tag >= SHUTDOWN_TAG) shutDownMedia(d, r, true);
  else moveMedia(d, r);
  flushInterrupts(d);
}

export function mediaDone(d: Nvme, r: Request): void {
  if (r.tag >= SHUTDOWN_TAG) shutDownMedia(d, r, false);
  else endMedia(d, r, r.status);
  flushInterrupts(d);
}

/** Power-on, RST#, function reset: everything but what is kept without power. */
export function reset(d: Nvme, kind: u32): void {
  if (kind == 0) d.powerCycles++;
  resetRegisters(d);
  resetFunction(changetype<Device>(changetype<usize>(d)));
}
