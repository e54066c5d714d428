// An AHCI controller with ATA disks and ATAPI drives: what assembly/dispatch.ts calls (references in hba.ts).
import { ATA_SERIAL, ATA_VIRTUAL, createAta } from '../ata/device';
import { reserve } from '../bus/arena';
import { KIND_AHCI } from '../bus/codes';
import { createDevice, profileWord } from '../bus/device';
import {
  addBar,
  addCapability,
  addMsi,
  addPowerManagement,
  createFunction,
  makeWritable,
  PciFunction,
  set16,
  set32,
} from '../bus/pci';
import { PCI_BAR_IO, PCI_CAP_SATA, PCI_COMMAND_IO, PCI_COMMAND_MEMORY } from '../bus/pci-regs';
import { Request } from '../media/media';
import { coalesceTimeout } from './coalesce';
import { mediaDone as endMedia, mediaData as moveMedia, retryWaiting, runPort } from './command';
import {
  Ahci,
  checkLayout,
  EVENT_COALESCE,
  EVENT_LINK,
  EVENT_RETRY,
  HBA_SCRATCH,
  isImplemented,
  PORT_STRIDE,
  portAt,
} from './hba';
import { linkUp, plug, signatureDue } from './link';
import { readRegister, writeBytes, writeRegister } from './registers';
import {
  AHCI_BAR,
  AHCI_CAP_AT_MSI,
  AHCI_CAP_AT_PM,
  AHCI_CAP_AT_SATA,
  AHCI_CAP_CCCS,
  AHCI_CAP_ISS_SHIFT,
  AHCI_CAP_NCS_SHIFT,
  AHCI_CAP_PMD,
  AHCI_CAP_S64A,
  AHCI_CAP_SALP,
  AHCI_CAP_SAM,
  AHCI_CAP_SCLO,
  AHCI_CAP_SNCQ,
  AHCI_CAP_SSS,
  AHCI_CAP2_BOH,
  AHCI_CCC_INT_SHIFT,
  AHCI_CLASS,
  AHCI_DATA,
  AHCI_INDEX,
  AHCI_INDEX_BAR,
  AHCI_INDEX_BAR_BYTES,
  AHCI_PCS,
  AHCI_PORT_MAX,
  PROFILE_AGGRESSIVE,
  PROFILE_AHCI_ONLY,
  PROFILE_COALESCING,
  PROFILE_DESCRIPTOR_INTERRUPTS,
  PROFILE_HANDOFF,
  PROFILE_IMPLEMENTED,
  PROFILE_INDEX_PAIR,
  PROFILE_LINK_EVENTS,
  PROFILE_LIST_OVERRIDE,
  PROFILE_MSI,
  PROFILE_NCQ,
  PROFILE_PIO_REGISTER_FIS,
  PROFILE_PORTS,
  PROFILE_SLOTS,
  PROFILE_SPEED,
  PROFILE_STAGGERED,
  PROFILE_VERSION,
  PROFILE_VIRTUAL_DRIVES,
  PROFILE_WIDE,
  PROFILE_WIDE_COUNTS,
} from './regs';
import { resetAll } from './reset';

export { Ahci } from './hba';

/** Ports whose registers fit a BAR of 4 KiB. */
const PORTS_IN_4K: u32 = 30;
/** Index/data pair in the SATA capability: BAR4, at dword 4 ([1] 2.4). */
const SATA_REVISION: u32 = 0x0010;
const SATA_INDEX_PLACE: u32 = 0x48;

/** Creates the controller that the profile in the scratch area describes; 0 when there is no room. */
export function create(line: u32): u32 {
  checkLayout();
  const ports = max<u32>(1, min<u32>(profileWord(PROFILE_PORTS), AHCI_PORT_MAX));
  const blocks = reserve(ports * PORT_STRIDE, 16);
  if (blocks == 0) return 0;
  const device = createDevice(KIND_AHCI, offsetof<Ahci>() + HBA_SCRATCH, line);
  if (device === null) return 0;
  const d = changetype<Ahci>(device);
  d.ports = blocks;
  d.portCount = ports;
  claim(d);
  for (let i: u32 = 0; i < ports; i++) {
    portAt(d, i).number = i;
    portAt(d, i).ata = createAta(ATA_SERIAL | flag(PROFILE_VIRTUAL_DRIVES, ATA_VIRTUAL));
    if (portAt(d, i).ata == 0) return 0;
  }
  const f = createFunction(d, AHCI_CLASS);
  if (f === null) return 0;
  configure(d, f);
  resetAll(d);
  return <u32>changetype<usize>(d);
}

/** What the registers say, and what the silicon does, from the profile. */
function claim(d: Ahci): void {
  const all = linesOf(d.portCount);
  const implemented = profileWord(PROFILE_IMPLEMENTED) & all;
  const slots = max<u32>(1, min<u32>(profileWord(PROFILE_SLOTS), 32));
  d.pi = implemented != 0 ? implemented : all;
  d.slots = linesOf(slots);
  d.vs = profileWord(PROFILE_VERSION);
  d.cap = (d.portCount - 1) | ((slots - 1) << AHCI_CAP_NCS_SHIFT) | AHCI_CAP_PMD;
  d.cap |= profileWord(PROFILE_SPEED) << AHCI_CAP_ISS_SHIFT;
  d.cap |= flag(PROFILE_NCQ, AHCI_CAP_SNCQ) | flag(PROFILE_WIDE, AHCI_CAP_S64A);
  d.cap |= flag(PROFILE_STAGGERED, AHCI_CAP_SSS) | flag(PROFILE_AGGRESSIVE, AHCI_CAP_SALP);
  d.cap |= flag(PROFILE_AHCI_ONLY, AHCI_CAP_SAM) | flag(PROFILE_LIST_OVERRIDE, AHCI_CAP_SCLO);
  // Coalescing interrupts through the bit of a port that the HBA does not have ([1] 3.1.6).
  if (profileWord(PROFILE_COALESCING) != 0 && ~d.pi != 0) {
    d.cap |= AHCI_CAP_CCCS;
    d.cccControl = (<u32>ctz(~d.pi)) << AHCI_CCC_INT_SHIFT;
  }
  d.cap2 = flag(PROFILE_HANDOFF, AHCI_CAP2_BOH);
  d.linkEvents = profileWord(PROFILE_LINK_EVENTS);
  d.descriptorInterrupts = profileWord(PROFILE_DESCRIPTOR_INTERRUPTS);
  d.pioRegisterFis = profileWord(PROFILE_PIO_REGISTER_FIS);
  d.wideCounts = profileWord(PROFILE_WIDE_COUNTS);
}

function flag(word: u32, bit: u32): u32 {
  return profileWord(word) != 0 ? bit : 0;
}

function linesOf(n: u32): u32 {
  return n >= 32 ? 0xffffffff : ((<u32>1) << n) - 1;
}

function configure(d: Ahci, f: PciFunction): void {
  addBar(f, AHCI_BAR, d.portCount > PORTS_IN_4K ? 0x2000 : 0x1000, 0);
  if (profileWord(PROFILE_MSI) != 0) addMsi(f, AHCI_CAP_AT_MSI);
  if (profileWord(PROFILE_INDEX_PAIR) != 0) {
    addBar(f, AHCI_INDEX_BAR, AHCI_INDEX_BAR_BYTES, PCI_BAR_IO);
    addCapability(f, PCI_CAP_SATA, AHCI_CAP_AT_SATA, 8);
    set16(f, AHCI_CAP_AT_SATA + 2, SATA_REVISION);
    set32(f, AHCI_CAP_AT_SATA + 4, SATA_INDEX_PLACE);
  }
  addPowerManagement(f, AHCI_CAP_AT_PM, false);
  // [4] 14.1.32: a bit for each port, which software sets. Every port works without it.
  makeWritable(f, AHCI_PCS, d.pi & 0xff);
}

/** Plugs a disk or drive into port `place`; there are no port multipliers, so `unit` is 0. */
export function attach(d: Ahci, place: u32, unit: u32, disk: u32): bool {
  if (unit != 0 || !isImplemented(d, place)) return false;
  return plug(d, portAt(d, place), disk);
}

export function read(d: Ahci, bar: u32, at: u32, size: u32): u32 {
  if (bar == <u32>AHCI_BAR && (d.decode & PCI_COMMAND_MEMORY) != 0) {
    if (size == 4 && (at & 3) == 0) return readRegister(d, at);
    const low = <u64>readRegister(d, at & ~3);
    const high = (at & 3) + size > 4 ? <u64>readRegister(d, (at & ~3) + 4) : 0;
    const value = <u32>(((high << 32) | low) >> ((at & 3) << 3));
    return size == 4 ? value : value & (((<u32>1) << (size << 3)) - 1);
  }
  if (bar == <u32>AHCI_INDEX_BAR && (d.decode & PCI_COMMAND_IO) != 0) return readPair(d, at);
  return 0xffffffff;
}

export function write(d: Ahci, bar: u32, at: u32, size: u32, value: u32): void {
  if (bar == <u32>AHCI_BAR && (d.decode & PCI_COMMAND_MEMORY) != 0) {
    if (size == 4 && (at & 3) == 0) writeRegister(d, at, value);
    else writeBytes(d, at, size, value);
  } else if (bar == <u32>AHCI_INDEX_BAR && (d.decode & PCI_COMMAND_IO) != 0) {
    if (at == <u32>AHCI_INDEX && size == 4) d.index = value & 0x1ffc;
    else if (at == <u32>AHCI_DATA && size == 4) writeRegister(d, d.index, value);
  }
}

/** The index/data pair: the registers without memory decoding ([1] 2.4.1). What is beside it reads 0. */
function readPair(d: Ahci, at: u32): u32 {
  if (at == <u32>AHCI_INDEX) return d.index;
  return at == <u32>AHCI_DATA ? readRegister(d, d.index) : 0;
}

export function event(d: Ahci, code: u32, tag: u32): void {
  if (code == EVENT_LINK) linkUp(d, portAt(d, tag));
  else if (code == EVENT_COALESCE) coalesceTimeout(d);
  else if (code == EVENT_RETRY) retryWaiting(d);
  else {
    signatureDue(d, portAt(d, tag));
    runPort(d, portAt(d, tag));
  }
}

export function mediaData(d: Ahci, r: Request): void {
  moveMedia(d, r);
}

export function mediaDone(d: Ahci, r: Request): void {
  endMedia(d, r);
}

export function reset(d: Ahci, kind: u32): void {
  resetAll(d);
}
