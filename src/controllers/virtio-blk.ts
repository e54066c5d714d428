// virtio-blk: what a profile may say of a device.

import { KIND_VIRTIO_BLK } from '../../assembly/bus/codes.ts';
import {
  BLK_RANGE_MAX,
  PROFILE_ACCESS_PLATFORM,
  PROFILE_DISCARD_SECTORS,
  PROFILE_EVENT_IDX,
  PROFILE_FLUSH,
  PROFILE_INDIRECT,
  PROFILE_MULTIPLIER,
  PROFILE_PACKED,
  PROFILE_PORTS,
  PROFILE_QUEUE_SIZE,
  PROFILE_QUEUES,
  PROFILE_RANGES,
  PROFILE_SEG_MAX,
  PROFILE_SIZE_MAX,
  PROFILE_TRANSITIONAL,
  PROFILE_VECTORS,
  PROFILE_ZEROES_SECTORS,
  VIRTIO_QUEUE_SIZE_MAX,
  VIRTIO_QUEUES_MAX,
  VIRTIO_SEGMENTS_MAX,
} from '../../assembly/virtio-blk/regs.ts';
import plain from '../../firmware/profiles/virtio-blk.json' with { type: 'json' };
import modern from '../../firmware/profiles/virtio-blk-modern.json' with { type: 'json' };
import segmax1 from '../../firmware/profiles/virtio-blk-segmax1.json' with { type: 'json' };
import sizemax from '../../firmware/profiles/virtio-blk-sizemax4096.json' with { type: 'json' };
import { type ControllerDescription, type Parameter, parameterOf } from './description.ts';

const WORD_MAX = 0xffffffff;

export const virtioBlk: ControllerDescription = {
  kind: 'virtio-blk',
  code: KIND_VIRTIO_BLK,
  title: 'virtio-blk',
  bus: 'pci',
  specifications: ['Virtual I/O Device (VIRTIO) 1.2, OASIS committee specification 01', 'PCI Local Bus 3.0'],
  parameters: {
    transitional: parameter(PROFILE_TRANSITIONAL, 0, 1, 1, 'Whether the legacy interface is there too.'),
    queues: parameter(PROFILE_QUEUES, 1, VIRTIO_QUEUES_MAX, 1, 'Queues; more than one is VIRTIO_BLK_F_MQ.'),
    queueSize: parameter(
      PROFILE_QUEUE_SIZE,
      2,
      VIRTIO_QUEUE_SIZE_MAX,
      128,
      'Descriptors of a queue, cut to a power of two.',
    ),
    segMax: parameter(
      PROFILE_SEG_MAX,
      0,
      VIRTIO_SEGMENTS_MAX,
      126,
      'Data segments that a request may have; 0: no limit is named.',
    ),
    sizeMax: parameter(PROFILE_SIZE_MAX, 0, WORD_MAX, 0, 'Bytes of one data segment; 0: no limit.'),
    packed: parameter(PROFILE_PACKED, 0, 1, 0, 'Whether packed rings are offered.'),
    indirect: parameter(PROFILE_INDIRECT, 0, 1, 1, 'Whether indirect descriptors are offered.'),
    eventIndex: parameter(PROFILE_EVENT_IDX, 0, 1, 1, 'Whether event indexes are offered.'),
    accessPlatform: parameter(
      PROFILE_ACCESS_PLATFORM,
      0,
      1,
      0,
      'Whether addresses are those of the platform: a driver must accept VIRTIO_F_ACCESS_PLATFORM.',
    ),
    vectors: parameter(PROFILE_VECTORS, 0, 32, 2, 'MSI-X vectors; 0: there is no such capability.'),
    multiplier: parameter(
      PROFILE_MULTIPLIER,
      0,
      4,
      4,
      'Bytes from one notification register to the next, 4 unless 0: all queues share one.',
    ),
    discardSectors: parameter(
      PROFILE_DISCARD_SECTORS,
      0,
      WORD_MAX,
      4194303,
      'Sectors of 512 bytes in one range of a discard; 0: none is offered.',
    ),
    zeroesSectors: parameter(
      PROFILE_ZEROES_SECTORS,
      0,
      WORD_MAX,
      4194303,
      'Sectors of 512 bytes in one range of write zeroes; 0: none is offered.',
    ),
    ranges: parameter(PROFILE_RANGES, 1, BLK_RANGE_MAX, 32, 'Ranges of one discard or write zeroes.'),
    flush: parameter(PROFILE_FLUSH, 0, 1, 1, 'Whether a cache is flushed and can be switched off.'),
    ports: parameter(
      PROFILE_PORTS,
      0,
      1,
      0,
      'Whether modern drivers, too, notify and ask for the cause of interrupts at the legacy ports.',
    ),
  },
  profiles: [plain, modern, segmax1, sizemax],
  line: 20,
  limits: (profile) => ({
    addressBits: profile.addressBits,
    maxSegments:
      parameterOf(virtioBlk, profile, 'segMax') || parameterOf(virtioBlk, profile, 'queueSize') - 2,
    maxSegmentBytes: parameterOf(virtioBlk, profile, 'sizeMax') || WORD_MAX,
    boundary: 0,
    alignment: 1,
  }),
};

function parameter(word: number, min: number, max: number, preset: number, about: string): Parameter {
  return { word, min, max, default: preset, about };
}
