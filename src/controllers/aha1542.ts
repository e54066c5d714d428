import { KIND_AHA1542 } from '../../assembly/bus/codes.ts';
import type { ControllerDescription } from './description.ts';

export const aha1542: ControllerDescription = {
  kind: 'aha1542',
  code: KIND_AHA1542,
  title: 'Adaptec AHA-1542CF',
  bus: 'isa',
  specifications: [],
  parameters: {},
  profiles: [
    {
      name: 'aha1542',
      controller: 'aha1542',
      board: 'Adaptec AHA-1542CF',
      artificial: false,
      about: '',
      addressBits: 24,

      parameters: {},
    },
  ],
  line: 11,
  limits: (profile) => ({
    addressBits: profile.addressBits,
    maxSegments: 17,
    maxSegmentBytes: 2 ** 22,
    boundary: 0,
    alignment: 1,
  }),
};
