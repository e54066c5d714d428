// What the device offers, and its configuration ([1] 5.2.3, 5.2.4; references in state.ts). Both depend on the disk.
import { Disk } from '../media/media';
import {
  BLK_BLK_SIZE,
  BLK_CAPACITY,
  BLK_CYLINDERS,
  BLK_DISCARD_ALIGNMENT,
  BLK_DISCARD_SECTORS,
  BLK_DISCARD_SEGMENTS,
  BLK_OPT_IO,
  BLK_PHYSICAL_EXP,
  BLK_SECTOR_SHIFT,
  BLK_SEG_MAX,
  BLK_SIZE_MAX,
  BLK_WRITEBACK,
  BLK_ZEROES_MAY_UNMAP,
  BLK_ZEROES_SECTORS,
  BLK_ZEROES_SEGMENTS,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from './regs';
import { diskOfDevice, VirtioBlk } from './state';

const HEADS: u32 = 16;
const SECTORS: u32 = 63;
const CYLINDERS_MAX: u64 = 65535;

/** Word 0 of the features. */
export function offeredLow(d: VirtioBlk): u32 {
  const disk = diskOfDevice(d);
  return disk !== null && disk.readOnly != 0 ? d.offered | VIRTIO_BLK_F_RO : d.offered;
}

/** Whether the device can work with what the driver accepted ([1] 2.2.2, 6.1, 6.2). */
export function isAcceptable(d: VirtioBlk): bool {
  if ((d.accepted & ~offeredLow(d)) != 0 || (d.acceptedHigh & ~d.offeredHigh) != 0) return false;
  const needed: u32 = VIRTIO_F_VERSION_1 | (d.offeredHigh & VIRTIO_F_ACCESS_PLATFORM);
  return (d.acceptedHigh & needed) == needed;
}

export function configByte(d: VirtioBlk, at: u32): u32 {
  return (configWord(d, at & ~3) >>> ((at & 3) << 3)) & 0xff;
}

/** The dword at `at`, a multiple of 4; 0 where nothing is, and for features that are not offered. */
export function configWord(d: VirtioBlk, at: u32): u32 {
  const disk = diskOfDevice(d);
  const discard = (d.offered & VIRTIO_BLK_F_DISCARD) != 0;
  const zeroes = (d.offered & VIRTIO_BLK_F_WRITE_ZEROES) != 0;
  switch (at) {
    case BLK_CAPACITY:
      return <u32>capacityOf(disk);
    case BLK_CAPACITY + 4:
      return <u32>(capacityOf(disk) >> 32);
    case BLK_SIZE_MAX:
      return d.sizeMax;
    case BLK_SEG_MAX:
      return d.segMax;
    case BLK_CYLINDERS:
      return geometry(disk);
    case BLK_BLK_SIZE:
      return blockBytes(disk);
    // Topology: the physical block is the logical one, at the start; one block is worth asking for.
    case BLK_PHYSICAL_EXP:
      return 0x00010000;
    case BLK_OPT_IO:
      return 0;
    case BLK_WRITEBACK:
      return d.writeback | (d.queueCount << 16);
    case BLK_DISCARD_SECTORS:
      return discard ? d.discardSectors : 0;
    case BLK_DISCARD_SEGMENTS:
      return discard ? d.ranges : 0;
    case BLK_DISCARD_ALIGNMENT:
      return discard ? blockBytes(disk) >>> BLK_SECTOR_SHIFT : 0;
    case BLK_ZEROES_SECTORS:
      return zeroes ? d.zeroesSectors : 0;
    case BLK_ZEROES_SEGMENTS:
      return zeroes ? d.ranges : 0;
    case BLK_ZEROES_MAY_UNMAP:
      return zeroes ? 1 : 0;
    default:
      return 0;
  }
}

/** One field can be written: whether the cache holds writes back, where the driver accepted that it can. */
export function writeConfig(d: VirtioBlk, at: u32, size: u32, value: u32): void {
  if (at != <u32>BLK_WRITEBACK || size != 1 || (d.accepted & VIRTIO_BLK_F_CONFIG_WCE) == 0) return;
  d.writeback = value & 1;
}

function capacityOf(disk: Disk | null): u64 {
  return disk === null ? 0 : disk.sectors << (disk.sectorShift - BLK_SECTOR_SHIFT);
}

function blockBytes(disk: Disk | null): u32 {
  return disk === null ? 1 << BLK_SECTOR_SHIFT : 1 << disk.sectorShift;
}

function geometry(disk: Disk | null): u32 {
  const cylinders = min(capacityOf(disk) / (HEADS * SECTORS), CYLINDERS_MAX);
  return <u32>cylinders | (HEADS << 16) | (SECTORS << 24);
}
