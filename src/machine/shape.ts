// What has to be the same on both sides of a snapshot, in words that say what differs: the layout of the module's
// memory in this build, and what the machine is made of.

import {
  BLOCK_DEVICE,
  BLOCK_DISK,
  BLOCK_FUNCTION,
  BLOCK_REQUEST,
  KIND_AHA1542,
  KIND_AHCI,
  KIND_LSI53C895A,
  KIND_NVME,
  KIND_PIIX_IDE,
  KIND_VIRTIO_BLK,
} from '../../assembly/bus/codes.ts';
import * as layout from '../../assembly/bus/layout.ts';
import type { Bus } from './bus.ts';
import type { Controller } from './controller.ts';
import type { Disk } from './disk.ts';
import { Drive } from './drive.ts';
import { SnapshotError } from './errors.ts';
import type { HardwareExports } from './module.ts';
import type { RamRegion } from './phys-mem.ts';

/** Constants of assembly/bus/layout.ts and sizes of the module's structures, by name. */
export type Layout = Readonly<Record<string, number>>;

const BLOCKS: Readonly<Record<string, number>> = {
  'bytes of a device': BLOCK_DEVICE,
  'bytes of a PCI function': BLOCK_FUNCTION,
  'bytes of a disk': BLOCK_DISK,
  'bytes of a media request': BLOCK_REQUEST,
  'bytes of an aha1542': KIND_AHA1542,
  'bytes of an ahci': KIND_AHCI,
  'bytes of an lsi53c895a': KIND_LSI53C895A,
  'bytes of an nvme': KIND_NVME,
  'bytes of a piix-ide': KIND_PIIX_IDE,
  'bytes of a virtio-blk': KIND_VIRTIO_BLK,
};

/** The layout of this build. LAYOUT_VERSION stands for what no size shows. */
export function layoutOf(hw: HardwareExports): Layout {
  const blocks = Object.entries(BLOCKS).map(([name, block]) => [name, hw.blockBytes(block)] as const);
  return { ...layout, ...Object.fromEntries(blocks) };
}

/** Throws SnapshotError where `theirs` is of another build than `ours`. */
export function checkLayout(theirs: Layout, ours: Layout): void {
  if (theirs === ours) return;
  for (const name of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
    if (theirs[name] === ours[name]) continue;
    throw new SnapshotError(
      `the snapshot is of another build: ${name} is ${theirs[name] ?? 'unknown'} there and ${ours[name] ?? 'unknown'} here`,
    );
  }
}

/** What shapeOf() looks at. */
export interface Parts {
  readonly memoryBytes: number;
  readonly regions: readonly RamRegion[];
  /** RAM that is the host's. */
  readonly external: readonly RamRegion[];
  readonly guard: string;
  readonly controllers: readonly Controller[];
  readonly disks: readonly Disk[];
  readonly bus: Bus;
}

/** What a machine is made of, a line each. */
export function shapeOf(parts: Parts): readonly string[] {
  const { memoryBytes, regions, external, guard, controllers, disks, bus } = parts;
  return [
    ...regions.map(({ base, bytes }) => `RAM of ${bytes} bytes at 0x${base.toString(16)}`),
    ...external.map(({ base, bytes }) => `the host's RAM of ${bytes} bytes at 0x${base.toString(16)}`),
    guard,
    ...controllers.map((controller) => {
      const { name, profile, line, offset } = controller;
      const { addressBits, pci, parameters } = profile;
      const board = JSON.stringify({ addressBits, pci, parameters });
      return `${name}, a ${profile.name} ${board} with line ${line} in slot ${bus.slotOf(controller)}, kept at ${offset}`;
    }),
    ...disks.map((disk, i) => {
      const { medium, firstBytes, sectorBytes, readOnly, offset } = disk;
      const first = disks.findIndex((other) => medium !== null && other.medium === medium);
      const where =
        medium === null ? 'in RAM' : first === i ? 'on a medium' : `on the medium of disk ${first + 1}`;
      const access = readOnly ? 'read-only' : 'writable';
      if (disk instanceof Drive) {
        const disc = disk.tray.loaded ? `with ${disk.bytes} bytes ${where}` : 'empty';
        return `disk ${i + 1}, a drive, ${disc}, kept at ${offset}`;
      }
      return `disk ${i + 1}, ${firstBytes} bytes ${where} in sectors of ${sectorBytes}, ${access}, kept at ${offset}`;
    }),
    `a module's memory of ${memoryBytes} bytes`,
  ];
}

/** A disk that the host holds, in two parts: its number, and what follows the size that it was made with. */
const HOST_DISK = /^disk (\d+), \d+( bytes on a medium .*)$/;

/**
 * Throws SnapshotError where a snapshot of a machine of shape `theirs` does not fit one of shape `ours`. Disks of the host
 * may have been made with other sizes where `isResized` says of their number that they have the same now.
 */
export function checkShape(
  theirs: readonly string[],
  ours: readonly string[],
  isResized: (disk: number) => boolean,
): void {
  for (let i = 0; i < Math.max(theirs.length, ours.length); i++) {
    if (theirs[i] === ours[i]) continue;
    const [, number, rest] = HOST_DISK.exec(theirs[i] ?? '') ?? [];
    if (number !== undefined && HOST_DISK.exec(ours[i] ?? '')?.[2] === rest && isResized(Number(number)))
      continue;
    throw new SnapshotError(
      `the snapshot is of another machine: there ${theirs[i] ?? 'nothing more'}; here ${ours[i] ?? 'nothing more'}`,
    );
  }
}
