// AHCI: what a profile may say of a board.

import {
  AHCI_PRD_MAX_BYTES,
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
} from '../../assembly/ahci/regs.ts';
import { KIND_AHCI } from '../../assembly/bus/codes.ts';
import plain from '../../firmware/profiles/ahci.json' with { type: 'json' };
import slot1 from '../../firmware/profiles/ahci-1slot.json' with { type: 'json' };
import lines26 from '../../firmware/profiles/ahci-26lines.json' with { type: 'json' };
import narrow from '../../firmware/profiles/ahci-32bit.json' with { type: 'json' };
import q35 from '../../firmware/profiles/ahci-q35.json' with { type: 'json' };
import sb600 from '../../firmware/profiles/ahci-sb600.json' with { type: 'json' };
import type { ControllerDescription, Parameter } from './description.ts';

/** PRDTL is a 16-bit field (AHCI 1.3.1, 4.2.2). */
const MAX_SEGMENTS = 65535;

export const ahci: ControllerDescription = {
  kind: 'ahci',
  code: KIND_AHCI,
  title: 'AHCI',
  bus: 'pci',
  specifications: [
    'Serial ATA Advanced Host Controller Interface (AHCI) 1.3.1',
    'Serial ATA revision 2.6',
    'AT Attachment 8 - ATA/ATAPI Command Set, T13/1699-D revision 6a',
    'PCI Local Bus 3.0',
  ],
  parameters: {
    ports: parameter(PROFILE_PORTS, 1, 32, 6, 'Ports that CAP.NP counts.'),
    implemented: parameter(PROFILE_IMPLEMENTED, 0, 0xffffffff, 0, 'PI, a bit a port; 0: every port.'),
    slots: parameter(PROFILE_SLOTS, 1, 32, 32, 'Command slots of a port (CAP.NCS).'),
    ncq: parameter(PROFILE_NCQ, 0, 1, 1, 'Whether native command queuing works (CAP.SNCQ).'),
    claims64: parameter(PROFILE_WIDE, 0, 1, 1, 'Whether CAP.S64A claims 64 address bits.'),
    version: parameter(PROFILE_VERSION, 0x905, 0x10301, 0x10301, 'AHCI version as VS has it.'),
    staggered: parameter(PROFILE_STAGGERED, 0, 1, 0, 'Whether disks spin up one by one (CAP.SSS).'),
    aggressive: parameter(PROFILE_AGGRESSIVE, 0, 1, 0, 'Whether CAP.SALP claims aggressive link power.'),
    ahciOnly: parameter(PROFILE_AHCI_ONLY, 0, 1, 1, 'Whether there is no legacy mode (CAP.SAM).'),
    speed: parameter(PROFILE_SPEED, 1, 3, 3, 'Fastest link: 1, 2, 3 for 1.5, 3, 6 Gb/s (CAP.ISS).'),
    listOverride: parameter(PROFILE_LIST_OVERRIDE, 0, 1, 1, 'Whether PxCMD.CLO works (CAP.SCLO).'),
    coalescing: parameter(PROFILE_COALESCING, 0, 1, 0, 'Whether completions can be coalesced (CAP.CCCS).'),
    handoff: parameter(PROFILE_HANDOFF, 0, 1, 0, 'Whether BOHC is there (CAP2.BOH).'),
    msi: parameter(PROFILE_MSI, 0, 1, 1, 'Whether there is an MSI capability.'),
    indexPair: parameter(PROFILE_INDEX_PAIR, 0, 1, 1, 'Whether BAR4 has the index/data pair.'),
    linkEvents: parameter(
      PROFILE_LINK_EVENTS,
      0,
      1,
      1,
      'Whether the link comes up in time and with PxSERR.DIAG.X after a reset; 0: at once and silently.',
    ),
    descriptorInterrupts: parameter(
      PROFILE_DESCRIPTOR_INTERRUPTS,
      0,
      1,
      1,
      'Whether the I bit of a descriptor sets PxIS.DPS.',
    ),
    pioRegisterFis: parameter(
      PROFILE_PIO_REGISTER_FIS,
      0,
      1,
      0,
      'Whether PIO data-in ends with a Register FIS beside the PIO Setup FIS.',
    ),
    wideCounts: parameter(
      PROFILE_WIDE_COUNTS,
      0,
      1,
      0,
      'Whether 28-bit commands take a 16-bit count instead of its low byte.',
    ),
    virtualDrives: parameter(
      PROFILE_VIRTUAL_DRIVES,
      0,
      1,
      0,
      'Whether an optical drive reports no unit attention after a reset, and a new medium first as none.',
    ),
  },
  profiles: [plain, sb600, narrow, lines26, slot1, q35],
  line: 19,
  limits: (profile) => ({
    addressBits: profile.addressBits,
    maxSegments: MAX_SEGMENTS,
    maxSegmentBytes: AHCI_PRD_MAX_BYTES,
    boundary: 0,
    alignment: 2,
  }),
};

function parameter(word: number, min: number, max: number, preset: number, about: string): Parameter {
  return { word, min, max, default: preset, about };
}
