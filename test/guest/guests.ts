// What each controller is in the guest: its driver, its disk, what the driver may say.

import type { ControllerKind } from '../../src/controllers/index.ts';

export interface GuestDisk {
  readonly controller: ControllerKind;
  /** The stock driver that has to take it. */
  readonly driver: string;
  /** Modules to load; what they need is found. */
  readonly modules: readonly string[];
  /** The device's name, and what stands between it and a partition's number. */
  readonly disk: string;
  readonly infix: string;
  /** Whether SeaBIOS has a driver, too, and boots from the disk. */
  readonly bios: boolean;
  /** What the driver prints at a warning's level on every board. */
  readonly says?: readonly RegExp[];
}

/** Linux's disk driver met the unit attention of a bus reset. */
const RESET_OCCURRED = /Power-on or device reset occurred/;

export const GUEST_DISKS: readonly GuestDisk[] = [
  {
    controller: 'aha1542',
    driver: 'aha1542',
    modules: ['aha1542'],
    disk: 'sda',
    infix: '',
    bios: false,
    says: [RESET_OCCURRED],
  },
  { controller: 'piix-ide', driver: 'ata_piix', modules: ['ata_piix'], disk: 'sda', infix: '', bios: true },
  { controller: 'ahci', driver: 'ahci', modules: ['ahci'], disk: 'sda', infix: '', bios: true },
  { controller: 'nvme', driver: 'nvme', modules: ['nvme'], disk: 'nvme0n1', infix: 'p', bios: true },
  {
    controller: 'virtio-blk',
    driver: 'virtio_blk',
    modules: ['virtio_pci', 'virtio_blk'],
    disk: 'vda',
    infix: '',
    bios: true,
  },
  {
    controller: 'lsi53c895a',
    driver: 'sym53c8xx',
    modules: ['sym53c8xx'],
    disk: 'sda',
    infix: '',
    bios: true,
    says: [RESET_OCCURRED, /sym0: .*NVRAM, ID 7, Fast-40, LVD, parity checking/],
  },
];

/** v86's own IDE, when it is there to be compared with. */
export const V86_IDE = { driver: 'ata_piix', disk: 'sda' } as const;
