// A PIIX3 or PIIX4 IDE controller with ATA disks and ATAPI drives: what assembly/dispatch.ts calls (references in
// channel.ts). The legacy ports are addressed as BARs 0 to 3, the bus master by its own, BAR 4 (regs.ts).
import { ATA_NARROW_RANGES, ATA_VIRTUAL, ataPowerOn, attachAta, createAta } from '../ata/device';
import { ATA_BLOCK_MAX } from '../ata/regs';
import { reserve } from '../bus/arena';
import { cancel } from '../bus/clock';
import { KIND_PIIX_IDE } from '../bus/codes';
import { createDevice, functionOf, profileWord } from '../bus/device';
import {
  addBar,
  createFunction,
  keepLegacy,
  makeReadOnly,
  makeWritable,
  PciFunction,
  resetFunction,
  set8,
  set16,
} from '../bus/pci';
import {
  PCI_BAR_IO,
  PCI_CACHE_LINE,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_STATUS,
} from '../bus/pci-regs';
import { Request } from '../media/media';
import {
  ataOf,
  Channel,
  channelAt,
  checkLayout,
  driveAt,
  EVENT_READY,
  EVENT_RETRY,
  giveUp,
  isDecoded,
  PIIX_STATE,
  Piix,
  showTaskFile,
  updateInterrupt,
} from './channel';
import { mediaDone as endMedia, mediaData as moveMedia, retryWaiting, writeData } from './command';
import { readMaster, writeMaster } from './master';
import { endReset, readPort, readPort16, readStatus, writeControl, writePort } from './ports';
import {
  IDE_DATA,
  PIIX_BAR_MASTER,
  PIIX_BAR_SECONDARY,
  PIIX_BAR_SECONDARY_CONTROL,
  PIIX_CHANNELS,
  PIIX_CLASS,
  PIIX_COMMAND_PORTS,
  PIIX_CONTROL_PORTS,
  PIIX_IDETIM,
  PIIX_IDETIM_ENABLE,
  PIIX_MASTER_BYTES,
  PIIX_PCI_STATUS,
  PIIX_SIDETIM,
  PIIX_UDMACTL,
  PIIX_UDMATIM,
  PRD_ENTRIES_MAX,
  PROFILE_ENABLED,
  PROFILE_ENTRIES,
  PROFILE_LENIENT,
  PROFILE_ULTRA,
} from './regs';

export { Piix } from './channel';

/** BARs 0 to 3 are fixed ports. */
const LEGACY_BARS: u32 = 0x0f;

/** Creates the controller that the profile in the scratch area describes; 0 when there is no room. */
export function create(line: u32): u32 {
  checkLayout();
  const device = createDevice(KIND_PIIX_IDE, offsetof<Piix>() + PIIX_STATE, line);
  if (device === null) return 0;
  const d = changetype<Piix>(device);
  const entries = profileWord(PROFILE_ENTRIES);
  d.entries = max<u32>(1, min<u32>(entries, PRD_ENTRIES_MAX));
  d.enabled = profileWord(PROFILE_ENABLED);
  d.lenient = profileWord(PROFILE_LENIENT);
  for (let i: u32 = 0; i < <u32>PIIX_CHANNELS; i++) {
    const c = channelAt(d, i);
    c.number = i;
    c.line = (line + i) & 31;
    for (let drive: u32 = 0; drive < 2; drive++) {
      const v = driveAt(c, drive);
      v.number = drive;
      v.ata = createAta(d.lenient != 0 ? ATA_NARROW_RANGES | ATA_VIRTUAL : 0);
      v.sectorBuffer = reserve(ATA_BLOCK_MAX, 16);
      if (v.ata == 0 || v.sectorBuffer == 0) return 0;
    }
  }
  const f = createFunction(d, PIIX_CLASS);
  if (f === null) return 0;
  configure(d, f);
  reset(d, 0);
  return <u32>changetype<usize>(d);
}

/** [1] 4.1: there is no memory decoding, no interrupt pin, and nothing to say about cache lines. */
function configure(d: Piix, f: PciFunction): void {
  keepLegacy(f, LEGACY_BARS);
  addBar(f, PIIX_BAR_MASTER, PIIX_MASTER_BYTES, PCI_BAR_IO);
  const memory: u32 = d.lenient != 0 ? 0 : PCI_COMMAND_MEMORY;
  const fixed: u32 = memory | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE;
  makeReadOnly(f, PCI_COMMAND, fixed & 0xff);
  makeReadOnly(f, PCI_COMMAND + 1, fixed >>> 8);
  makeReadOnly(f, PCI_CACHE_LINE, 0xff);
  makeReadOnly(f, PCI_INTERRUPT_LINE, 0xff);
  set8(f, PCI_INTERRUPT_PIN, 0);
  set16(f, PCI_STATUS, PIIX_PCI_STATUS);
  for (let at: u32 = PIIX_IDETIM; at <= <u32>PIIX_SIDETIM; at++) makeWritable(f, at, 0xff);
  if (profileWord(PROFILE_ULTRA) == 0) return;
  makeWritable(f, PIIX_UDMACTL, 0x0f);
  makeWritable(f, PIIX_UDMATIM, 0x33);
  makeWritable(f, PIIX_UDMATIM + 1, 0x33);
}

/** Plugs a disk or a drive in (0: pulls it out): `place` is the channel, `unit` the drive. */
export function attach(d: Piix, place: u32, unit: u32, disk: u32): bool {
  if (place >= <u32>PIIX_CHANNELS || unit > 1) return false;
  const c = channelAt(d, place);
  const v = driveAt(c, unit);
  giveUp(v);
  ataOf(v).disk = 0;
  updateInterrupt(d, c);
  if (!attachAta(ataOf(v), disk)) return false;
  ataPowerOn(ataOf(v));
  showTaskFile(v);
  return true;
}

/** Accesses are made of bytes, but for the data port, which takes words. */
export function read(d: Piix, bar: u32, at: u32, size: u32): u32 {
  if (bar <= <u32>PIIX_BAR_SECONDARY && (bar & 1) == 0 && at == <u32>IDE_DATA)
    return readWords(d, bar >>> 1, size);
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) value |= readByte(d, bar, at + i) << (i << 3);
  return value;
}

function readWords(d: Piix, channel: u32, size: u32): u32 {
  if (!isDecoded(d, channel)) return 0xffffffff;
  const c = channelAt(d, channel);
  const low = readPort16(d, c);
  return size < 4 ? low : low | (readPort16(d, c) << 16);
}

function readByte(d: Piix, bar: u32, at: u32): u32 {
  if (bar == <u32>PIIX_BAR_MASTER) return readMaster(d, at);
  if (bar > <u32>PIIX_BAR_SECONDARY_CONTROL || !isDecoded(d, bar >>> 1)) return 0xff;
  const c = channelAt(d, bar >>> 1);
  if ((bar & 1) != 0) return at < <u32>PIIX_CONTROL_PORTS ? readStatus(c) : 0xff;
  return at < <u32>PIIX_COMMAND_PORTS ? readPort(d, c, at) : 0xff;
}

export function write(d: Piix, bar: u32, at: u32, size: u32, value: u32): void {
  if (bar <= <u32>PIIX_BAR_SECONDARY && (bar & 1) == 0 && at == <u32>IDE_DATA) {
    if (!isDecoded(d, bar >>> 1)) return;
    const c = channelAt(d, bar >>> 1);
    writeData(d, c, size == 1 ? value & 0xff : value & 0xffff);
    if (size == 4) writeData(d, c, value >>> 16);
    return;
  }
  for (let i: u32 = 0; i < size; i++) writeByte(d, bar, at + i, (value >>> (i << 3)) & 0xff);
}

function writeByte(d: Piix, bar: u32, at: u32, value: u32): void {
  if (bar == <u32>PIIX_BAR_MASTER) return writeMaster(d, at, value);
  if (bar > <u32>PIIX_BAR_SECONDARY_CONTROL || !isDecoded(d, bar >>> 1)) return;
  const c = channelAt(d, bar >>> 1);
  if ((bar & 1) == 0) {
    if (at < <u32>PIIX_COMMAND_PORTS) writePort(d, c, at, value);
  } else if (at < <u32>PIIX_CONTROL_PORTS) {
    writeControl(d, c, value);
  }
}

export function event(d: Piix, code: u32, tag: u32): void {
  const c = channelAt(d, tag);
  if (code == EVENT_READY) endReset(c);
  else retryWaiting(d, c);
}

export function mediaData(d: Piix, r: Request): void {
  moveMedia(d, r);
}

export function mediaDone(d: Piix, r: Request): void {
  endMedia(d, r);
}

/** Every reset there is comes from the bus, and RESET- is on both cables ([1] 5.3). */
export function reset(d: Piix, kind: u32): void {
  resetFunction(d);
  for (let i: u32 = 0; i < <u32>PIIX_CHANNELS; i++) {
    if (((d.enabled >>> i) & 1) != 0) set16(functionOf(d), PIIX_IDETIM + 2 * i, PIIX_IDETIM_ENABLE);
    resetChannel(d, channelAt(d, i));
  }
}

function resetChannel(d: Piix, c: Channel): void {
  cancel(d, EVENT_READY, c.number);
  cancel(d, EVENT_RETRY, c.number);
  for (let i: u32 = 0; i < 2; i++) {
    const v = driveAt(c, i);
    giveUp(v);
    ataPowerOn(ataOf(v));
    showTaskFile(v);
    v.regFeature = 0;
  }
  c.selected = 0;
  c.control = 0;
  c.resetting = 0;
  c.command = 0;
  c.status = 0;
  c.table = 0;
  updateInterrupt(d, c);
}
