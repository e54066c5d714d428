// LSI/Symbios 53C895A, and the narrow 53C810: a PCI SCSI chip whose processor runs SCRIPTS out of memory. The registers
// are in registers.ts, the processor in processor.ts and move.ts, the bus in bus.ts, the disks' side of it in target.ts.
//
// [1] LSI53C895A Technical Manual, S14028.B
// [2] SPI-2, T10/1142-D
// [3] LSI53C896 and LSI53C875A Technical Manuals, where they say more of the same core
// [4] PCI Local Bus 2.2; PCI Power Management 1.1

import { reserve } from '../bus/arena';
import { KIND_LSI53C895A, RESET_POWER_ON } from '../bus/codes';
import { createDevice, Device, profileWord } from '../bus/device';
import {
  addBar,
  addPowerManagement,
  createFunction,
  PciFunction,
  resetFunction,
  set8 as setConfig,
} from '../bus/pci';
import { PCI_BAR_IO } from '../bus/pci-regs';
import { addWindow } from '../bus/window';
import { Request } from '../media/media';
import { scsiMediaData, scsiMediaDone } from '../scsi/task';
import { capacityChanged, createUnit, insertDisk, unitAt } from '../scsi/unit';
import {
  arbitrated,
  generalExpired,
  handshakeExpired,
  loseTarget,
  reselect,
  selectionTimedOut,
  taskReady,
} from './bus';
import {
  chipBytes,
  EVENT_ARBITRATE,
  EVENT_GENERAL,
  EVENT_HANDSHAKE,
  EVENT_RESELECT,
  EVENT_RESUME,
  EVENT_RUN,
  EVENT_SELECTION,
  Lsi,
  NOBODY,
  SLOT_RUNNING,
  Slot,
  setPresent,
  slotAt,
  unitPlace,
  unitsOf,
  wake,
} from './chip';
import { run } from './processor';
import { readRegister, resetChip, writeRegister } from './registers';
import {
  LSI_BAR_IO,
  LSI_BAR_MEMORY,
  LSI_BAR_RAM,
  LSI_CAP_AT_PM,
  LSI_CLASS,
  LSI_CONFIG_MAX_LAT,
  LSI_CONFIG_MIN_GNT,
  LSI_HOST_ID,
  LSI_IO_BYTES,
  LSI_MEMORY_BYTES,
  LSI_RAM_BYTES,
  LSI_TARGETS,
  LSI_UNITS,
  PROFILE_BURST,
  PROFILE_DUAL_ADDRESS,
  PROFILE_LOAD_STORE,
  PROFILE_MISMATCH_JUMPS,
  PROFILE_RAM,
  PROFILE_WIDE,
} from './regs';
import { dropTasks, isReady, resetBus, resumeTask } from './target';

export { Lsi } from './chip';

/** What the chip asks of the bus, in units of 250 ns ([1] 4.1). */
const MIN_GNT: u32 = 0x11;
const MAX_LAT: u32 = 0x40;
const NARROW_TARGETS: u32 = 8;

export function create(line: u32): u32 {
  const device = createDevice(KIND_LSI53C895A, chipBytes(), line);
  if (device == null) return 0;
  const d = changetype<Lsi>(changetype<usize>(device));
  d.wide = profileWord(PROFILE_WIDE);
  d.loadStore = profileWord(PROFILE_LOAD_STORE);
  d.mismatchJumps = profileWord(PROFILE_MISMATCH_JUMPS);
  d.dualAddress = profileWord(PROFILE_DUAL_ADDRESS);
  d.burst = profileWord(PROFILE_BURST) & ~1;
  d.target = NOBODY;
  d.freeSlots = u64.MAX_VALUE;
  const f = createFunction(device, LSI_CLASS);
  if (f == null) return 0;
  if (!configure(d, f)) return 0;
  reset(d, RESET_POWER_ON);
  return <u32>changetype<usize>(d);
}

/** False: no room for the RAM. */
function configure(d: Lsi, f: PciFunction): bool {
  addBar(f, LSI_BAR_IO, LSI_IO_BYTES, PCI_BAR_IO);
  addBar(f, LSI_BAR_MEMORY, LSI_MEMORY_BYTES, 0);
  setConfig(f, LSI_CONFIG_MIN_GNT, MIN_GNT);
  setConfig(f, LSI_CONFIG_MAX_LAT, MAX_LAT);
  if (d.mismatchJumps != 0) addPowerManagement(f, LSI_CAP_AT_PM, false);
  if (profileWord(PROFILE_RAM) == 0) return true;
  d.ram = reserve(LSI_RAM_BYTES, LSI_RAM_BYTES);
  addBar(f, LSI_BAR_RAM, LSI_RAM_BYTES, 0);
  return d.ram != 0 && addWindow(d, LSI_BAR_RAM, 0, LSI_RAM_BYTES, d.ram) != 0;
}

/** Places are SCSI targets, units logical units; the id that boards keep for the chip is none. */
export function attach(d: Lsi, place: u32, unit: u32, disk: u32): bool {
  const targets: u32 = d.wide != 0 ? LSI_TARGETS : NARROW_TARGETS;
  if (place >= targets || unit >= <u32>LSI_UNITS || place == LSI_HOST_ID) return false;
  const at = unitPlace(d, place, unit);
  if (load<u32>(at) == 0) {
    const created = createUnit();
    if (created == 0) return false;
    store<u32>(at, created);
  }
  if (d.target == place && d.lun == unit) loseTarget(d);
  dropTasks(d, place, unit);
  insertDisk(unitAt(load<u32>(at)), disk);
  setPresent(d, place, unit, disk != 0);
  if (d.target == place && unitsOf(d, place) == 0) loseTarget(d);
  return true;
}

/** A unit whose disk has another size says so to the next command. */
export function resized(d: Lsi, disk: u32): void {
  for (let target: u32 = 0; target < <u32>LSI_TARGETS; target++) {
    for (let lun: u32 = 0; lun < <u32>LSI_UNITS; lun++) {
      const unit = load<u32>(unitPlace(d, target, lun));
      if (unit != 0 && unitAt(unit).disk == disk) capacityChanged(unitAt(unit));
    }
  }
}

/** Wider accesses are so many of one byte. */
export function read(d: Lsi, bar: u32, at: u32, size: u32): u32 {
  if (bar > <u32>LSI_BAR_MEMORY) return 0xffffffff;
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) value |= readRegister(d, (at + i) & 0xff) << (8 * i);
  d.steps = 0;
  wake(d);
  return value;
}

export function write(d: Lsi, bar: u32, at: u32, size: u32, value: u32): void {
  if (bar > <u32>LSI_BAR_MEMORY) return;
  for (let i: u32 = 0; i < size; i++) writeRegister(d, (at + i) & 0xff, (value >>> (8 * i)) & 0xff, false);
  d.steps = 0;
  wake(d);
}

export function event(d: Lsi, code: u32, tag: u32): void {
  switch (code) {
    case EVENT_RUN:
      return run(d);
    case EVENT_ARBITRATE:
      return arbitrated(d);
    case EVENT_SELECTION:
      return selectionTimedOut(d);
    case EVENT_RESELECT:
      return reselect(d);
    case EVENT_GENERAL:
      return generalExpired(d);
    case EVENT_HANDSHAKE:
      return handshakeExpired(d);
    default:
      assert(code == EVENT_RESUME);
      resumeTask(d, slotAt(d, tag));
  }
}

export function mediaData(d: Lsi, r: Request): void {
  const s = running(d, r);
  scsiMediaData(s, r);
  if (isReady(s)) taskReady(d, s);
}

export function mediaDone(d: Lsi, r: Request): void {
  const s = running(d, r);
  scsiMediaDone(s, r);
  const settled = s.settles != 0;
  s.settles = 0;
  if (settled || isReady(s)) taskReady(d, s);
}

function running(d: Lsi, r: Request): Slot {
  const s = slotAt(d, r.tag);
  assert(s.slotState == SLOT_RUNNING);
  return s;
}

/** The bus's reset line resets the disks too: their power comes and goes with the machine's. */
export function reset(d: Lsi, kind: u32): void {
  resetChip(d, true);
  if (kind == RESET_POWER_ON) resetBus(d);
  resetFunction(changetype<Device>(changetype<usize>(d)));
}
