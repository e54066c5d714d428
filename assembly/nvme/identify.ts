// Identify ([1] 5.15; references in controller.ts): data that are made in the controller's page.
import { uniqueId } from '../bus/arena';
import { functionOf } from '../bus/device';
import { get16 } from '../bus/pci';
import { PCI_SUBSYSTEM_VENDOR, PCI_VENDOR } from '../bus/pci-regs';
import {
  DISK_FIRMWARE,
  DISK_FIRMWARE_BYTES,
  DISK_MODEL,
  DISK_MODEL_BYTES,
  DISK_SERIAL,
  DISK_SERIAL_BYTES,
} from '../media/codes';
import { putDiskText } from '../media/media';
import {
  blocksOf,
  Command,
  diskAt,
  ERROR_ENTRIES,
  EVENTS_MAX,
  isActive,
  Nvme,
  namespaceAt,
  PAGE,
} from './controller';
import {
  NVME_CNS_ACTIVE,
  NVME_CNS_ALLOCATED,
  NVME_CNS_ALLOCATED_NAMESPACE,
  NVME_CNS_CONTROLLER,
  NVME_CNS_DESCRIPTORS,
  NVME_CNS_NAMESPACE,
  NVME_ID_FIRMWARE,
  NVME_ID_MDTS,
  NVME_ID_MODEL,
  NVME_ID_NN,
  NVME_ID_NS_FLBAS,
  NVME_ID_NS_LBAF,
  NVME_ID_NS_NSZE,
  NVME_ID_ONCS,
  NVME_ID_SERIAL,
  NVME_ID_SGLS,
  NVME_ID_SUBNQN,
  NVME_ID_VWC,
  NVME_INVALID_FIELD,
  NVME_INVALID_NAMESPACE,
  NVME_SUCCESS,
} from './regs';

/** 1.4.0, as VS has it. */
export const VERSION: u32 = 0x00010400;
/** Security none; Format, Firmware. Compare, DSM, Write Zeroes, Save and Select, Timestamp, Verify. */
const OACS: u32 = 0x0006;
const ONCS: u32 = 0x00dd;
/** Three slots, all writable, activation without a reset. */
const FRMW: u32 = 0x16;
/** SGLs in NVM commands, byte aligned; bit bucket; longer than the data. */
const SGLS: u32 = 0x00050001;
/** Events for attribute and firmware notices. */
const OAES: u32 = 0x0300;
/** "1.0" and blanks: the revision as made. */
export const FIRST_REVISION: u64 = ((<u64>0x20202020) << 32) | 0x20302e31;
const BROADCAST: u32 = 0xfffffffe;

const SERIAL: StaticArray<u8> = [66, 80, 78, 86, 77, 69, 48, 48, 48, 48, 48, 48];
const SERIAL_DIGITS: u32 = 6;
const MODEL: StaticArray<u8> = [66, 65, 67, 75, 80, 76, 65, 78, 69, 32, 78, 86, 77, 69, 32, 68, 73, 83, 75];
const NQN: StaticArray<u8> = [
  110, 113, 110, 46, 50, 48, 50, 54, 45, 48, 49, 46, 111, 114, 103, 46, 98, 97, 99, 107, 112, 108, 97, 110,
  101, 58, 110, 118, 109, 101, 58,
];

/** Makes the data that `c` asks for; a status. */
export function makeIdentify(d: Nvme, c: Command): u32 {
  memory.fill(d.page, 0, PAGE);
  const nsid = c.nsid;
  switch (c.cdw10 & 0xff) {
    case NVME_CNS_NAMESPACE:
    case NVME_CNS_ALLOCATED_NAMESPACE:
      return namespace(d, nsid, (c.cdw10 & 0xff) == <u32>NVME_CNS_NAMESPACE);
    case NVME_CNS_CONTROLLER:
      controller(d);
      return NVME_SUCCESS;
    case NVME_CNS_ACTIVE:
    case NVME_CNS_ALLOCATED:
      return list(d, nsid);
    case NVME_CNS_DESCRIPTORS:
      return descriptors(d, nsid);
    default:
      return NVME_INVALID_FIELD;
  }
}

function controller(d: Nvme): void {
  const page: usize = d.page;
  const f = functionOf(d);
  store<u16>(page, <u16>get16(f, PCI_VENDOR));
  store<u16>(page, <u16>get16(f, PCI_SUBSYSTEM_VENDOR), 2);
  text(page + NVME_ID_SERIAL, SERIAL, 20);
  // The number of the controller ends the serial number.
  for (let i: u32 = 0, left = uniqueId(d.id); i < SERIAL_DIGITS; i++, left /= 10)
    store<u8>(page + NVME_ID_SERIAL + 11 - i, <u8>(48 + (left % 10)));
  text(page + NVME_ID_MODEL, MODEL, 40);
  store<u64>(page + NVME_ID_FIRMWARE, revision(d, d.firmwareSlot));
  given(d, page);
  // RAB: bursts of eight.
  store<u8>(page, 3, 72);
  store<u8>(page + NVME_ID_MDTS, <u8>d.mdts);
  store<u32>(page, VERSION, 80);
  store<u32>(page, OAES, 92);
  // CTRATT: 128-bit host identifiers.
  store<u32>(page, 1, 96);
  // An I/O controller.
  store<u8>(page, 1, 111);
  store<u16>(page, <u16>OACS, 256);
  // ACL, AERL, FRMW, LPA (commands supported, offsets), ELPE.
  store<u8>(page, 3, 258);
  store<u8>(page, <u8>(EVENTS_MAX - 1), 259);
  store<u8>(page, <u8>FRMW, 260);
  store<u8>(page, 0x06, 261);
  store<u8>(page, <u8>(ERROR_ENTRIES - 1), 262);
  // WCTEMP, CCTEMP; firmware in pieces of 4 KiB.
  store<u16>(page, 343, 266);
  store<u16>(page, 358, 268);
  store<u8>(page, 1, 319);
  store<u8>(page, 0x66, 512);
  store<u8>(page, 0x44, 513);
  store<u32>(page + NVME_ID_NN, d.namespaceCount);
  store<u16>(page + NVME_ID_ONCS, <u16>ONCS);
  // Flushing all namespaces at once is refused.
  store<u8>(page + NVME_ID_VWC, d.cache != 0 ? 0x05 : 0x04);
  if (d.sgl != 0) store<u32>(page + NVME_ID_SGLS, SGLS);
  qualifiedName(page);
  // The one power state: 25 W.
  store<u16>(page, 2500, 2048);
}

/** SUBNQN: no two controllers are of one subsystem, so the serial number ends it (without its blanks). */
function qualifiedName(page: usize): void {
  const to = page + NVME_ID_SUBNQN;
  memory.copy(to, changetype<usize>(NQN), NQN.length);
  let length: u32 = 20;
  while (length > 0 && load<u8>(page + NVME_ID_SERIAL + length - 1) == 0x20) length--;
  memory.copy(to + NQN.length, page + NVME_ID_SERIAL, length);
}

/** A controller is called what its first namespace's disk is called; a firmware of its own says more than the disk's. */
function given(d: Nvme, page: usize): void {
  let nsid: u32 = 1;
  while (nsid <= d.namespaceCount && !isActive(d, nsid)) nsid++;
  if (nsid > d.namespaceCount) return;
  const disk = diskAt(namespaceAt(d, nsid));
  putDiskText(disk, DISK_SERIAL, DISK_SERIAL_BYTES, page + NVME_ID_SERIAL, 20);
  putDiskText(disk, DISK_MODEL, DISK_MODEL_BYTES, page + NVME_ID_MODEL, 40);
  if (d.firmwareSlot == 1 && d.revision1 == FIRST_REVISION)
    putDiskText(disk, DISK_FIRMWARE, DISK_FIRMWARE_BYTES, page + NVME_ID_FIRMWARE, 8);
}

/** [1] 5.15.2.1. A namespace that is not there is all zeroes. */
function namespace(d: Nvme, nsid: u32, common: bool): u32 {
  if (nsid == 0xffffffff && common) {
    // What all have in common: formats, no size.
    formats(d.page, 9);
    return NVME_SUCCESS;
  }
  if (nsid - 1 >= d.namespaceCount) return NVME_INVALID_NAMESPACE;
  if (!isActive(d, nsid)) return NVME_SUCCESS;
  const page: usize = d.page;
  const n = namespaceAt(d, nsid);
  const blocks = blocksOf(n);
  store<u64>(page + NVME_ID_NS_NSZE, blocks);
  store<u64>(page, blocks, 8);
  store<u64>(page, blocks, 16);
  formats(page, diskAt(n).sectorShift);
  store<u8>(page + NVME_ID_NS_FLBAS, <u8>(n.lbaShift == 12 && diskAt(n).sectorShift == 9 ? 1 : 0));
  // Deallocated blocks read as zeroes; Write Zeroes may deallocate.
  store<u8>(page, 0x09, 33);
  // NSATTR: write protected.
  store<u8>(page, <u8>(diskAt(n).readOnly != 0 ? 1 : 0), 99);
  identifier(page + 104, d, nsid);
  return NVME_SUCCESS;
}

/** Blocks of 512 and of 4096 bytes, the latter alone where the disk has such sectors. */
function formats(page: usize, shift: u32): void {
  if (shift == 9) {
    store<u8>(page, 1, 25);
    store<u32>(page + NVME_ID_NS_LBAF, 9 << 16);
    store<u32>(page + NVME_ID_NS_LBAF, 12 << 16, 4);
  } else {
    store<u32>(page + NVME_ID_NS_LBAF, shift << 16);
  }
}

/** NGUID ([1] 7.10): ours, by controller and namespace. */
function identifier(at: usize, d: Nvme, nsid: u32): void {
  store<u32>(at, 0x4b415042);
  store<u32>(at, 0x454d564e, 4);
  store<u32>(at, bswap(uniqueId(d.id)), 8);
  store<u32>(at, bswap(nsid), 12);
}

/** Namespace identifiers above `nsid`, ascending ([1] 5.15.2.3). */
function list(d: Nvme, nsid: u32): u32 {
  if (nsid >= BROADCAST) return NVME_INVALID_NAMESPACE;
  let at: usize = d.page;
  for (let id = nsid + 1; id <= d.namespaceCount; id++) {
    if (!isActive(d, id)) continue;
    store<u32>(at, id);
    at += 4;
  }
  return NVME_SUCCESS;
}

function descriptors(d: Nvme, nsid: u32): u32 {
  if (!isActive(d, nsid)) return NVME_INVALID_NAMESPACE;
  // NGUID, 16 bytes.
  store<u16>(d.page, 0x1002);
  identifier(<usize>d.page + 4, d, nsid);
  return NVME_SUCCESS;
}

/** Revision in a firmware slot, 0: the slot is empty. */
export function revision(d: Nvme, slot: u32): u64 {
  return slot == 1 ? d.revision1 : slot == 2 ? d.revision2 : d.revision3;
}

function text(to: usize, from: StaticArray<u8>, bytes: u32): void {
  memory.fill(to, 0x20, bytes);
  memory.copy(to, changetype<usize>(from), from.length);
}
