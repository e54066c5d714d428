import { KIND_AHCI } from '../../assembly/bus/codes.ts';
import type { ControllerDescription } from './description.ts';

export const ahci: ControllerDescription = {
  kind: 'ahci',
  code: KIND_AHCI,
  title: 'AHCI',
  bus: 'pci',
  specifications: [],
  parameters: {},
  profiles: [
    {
      name: 'ahci',
      controller: 'ahci',
      board: 'AHCI',
      artificial: false,
      about: '',
      addressBits: 64,
      pci: { vendor: 0x8086, device: 0x2922 },
      parameters: {},
    },
  ],
  line: 19,
  limits: (profile) => ({
    addressBits: profile.addressBits,
    maxSegments: 17,
    maxSegmentBytes: 2 ** 22,
    boundary: 0,
    alignment: 1,
  }),
};
