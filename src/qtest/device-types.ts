// The devices that there are, by the names that other emulators' clients use where the device is the same, with the
// properties that each takes and the profile that these make.

import {
  ahci,
  type ControllerDescription,
  findProfile,
  lsi53c895a,
  nvme,
  type Profile,
  piixIde,
  virtioBlk,
} from '../controllers/index.ts';
import type { Backends } from './backends.ts';
import { QtestError } from './errors.ts';
import { near, type Options, toNumber, toSwitch } from './options.ts';

export type BusKind = 'PCI' | 'IDE' | 'SCSI';

export interface DeviceType {
  readonly name: string;
  readonly aliases: readonly string[];
  /** The abstract type that it is a case of. */
  readonly parent: string;
  readonly bus: BusKind;
  /** Properties that change something. */
  readonly properties: readonly string[];
  /** Properties that are taken and change nothing. */
  readonly harmless: readonly string[];
  /** A controller's description and its profile with these options; absent: a disk. */
  readonly controller?: (
    options: Options,
    backends: Backends,
  ) => { description: ControllerDescription; profile: Profile };
  /** The kind of buses that it has, and how many. */
  readonly buses?: readonly [kind: BusKind, count: number];
  /** A bridge to another bus, by its ids; `express`: it needs an express bus in front of it. */
  readonly bridge?: { readonly vendor: number; readonly device: number; readonly express: boolean };
  /** A controller that has its one disk itself. */
  readonly hasDisk?: boolean;
  readonly isCdrom?: boolean;
}

/** Every device has these. */
export const COMMON_PROPERTIES = ['driver', 'id', 'bus'] as const;

const PCI_PROPERTIES = ['addr'];
const BRIDGE_HARMLESS = [
  'bus-reserve', 'chassis', 'chassis_nr', 'io-reserve', 'mem-reserve', 'msi', 'port', 'power_controller_present',
  'pref32-reserve', 'pref64-reserve', 'shpc', 'slot', 'disable-acs',
]; // biome-ignore format: a list
const PCI_HARMLESS = ['acpi-index', 'failover_pair_id', 'multifunction', 'rombar', 'romfile', 'romsize'];
const BLOCK_PROPERTIES = [
  'drive',
  'serial',
  'logical_block_size',
  'write-cache',
  'rerror',
  'werror',
  'bootindex',
];
/** The geometry that firmware is told. */
const LOGICAL_GEOMETRY = ['lcyls', 'lheads', 'lsecs'];
const GEOMETRY = ['cyls', 'heads', 'secs'];
const BLOCK_HARMLESS = [
  'account-failed', 'account-invalid', 'backend_defaults', 'discard_granularity', 'min_io_size',
  'opt_io_size', 'physical_block_size', 'share-rw',
]; // biome-ignore format: a list
const DISK_HARMLESS = ['rotation_rate', 'wwn'];
const VIRTIO_HARMLESS = [
  'any_layout', 'ats', 'class', 'config-wce', 'ioeventfd', 'iothread', 'migrate-extra', 'modern-pio-notify',
  'notify_on_empty', 'page-per-vq', 'report-discard-granularity', 'request-merging', 'scsi', 'seg-max-adjust',
  'use-disabled-flag', 'use-started', 'virtio-pci-bus-master-bug-migration',
]; // biome-ignore format: a list
const NVME_HARMLESS = [
  'aer_max_queued', 'aerl', 'auto-transition-zones', 'ioeventfd', 'legacy-cmb', 'msix_qsize', 'use-intel-id', 'vsl',
]; // biome-ignore format: a list

const IDE_DISK = {
  aliases: [],
  parent: 'ide-device',
  bus: 'IDE',
  properties: [
    ...BLOCK_PROPERTIES, ...LOGICAL_GEOMETRY, ...GEOMETRY, 'bios-chs-trans', 'unit', 'ver', 'model',
  ], // biome-ignore format: a list
  harmless: [...BLOCK_HARMLESS, ...DISK_HARMLESS, 'win2k-install-hack'],
} as const;

const SCSI_DISK = {
  aliases: [],
  parent: 'scsi-device',
  bus: 'SCSI',
  properties: [...BLOCK_PROPERTIES, ...LOGICAL_GEOMETRY, 'scsi-id', 'lun', 'channel', 'ver', 'product'],
  harmless: [
    ...BLOCK_HARMLESS, ...DISK_HARMLESS, ...GEOMETRY, 'device_id', 'dpofua', 'max_io_size', 'max_unmap_size', 'port_index',
    'port_wwn', 'removable', 'scsi_version', 'vendor',
  ], // biome-ignore format: a list
} as const;

const VIRTIO = {
  aliases: [],
  parent: 'virtio-blk-pci-base',
  bus: 'PCI',
  properties: [
    ...PCI_PROPERTIES, ...BLOCK_PROPERTIES, ...LOGICAL_GEOMETRY, 'num-queues', 'queue-size', 'vectors', 'disable-legacy', 'disable-modern',
    'discard', 'write-zeroes', 'event_idx', 'indirect_desc', 'packed', 'iommu_platform', 'max-discard-sectors',
    'max-write-zeroes-sectors',
  ], // biome-ignore format: a list
  harmless: [...PCI_HARMLESS, ...BLOCK_HARMLESS, ...GEOMETRY, ...DISK_HARMLESS, ...VIRTIO_HARMLESS],
  hasDisk: true,
} as const;

/** A controller on PCI without properties of its own, as a profile has it. */
function plain(
  name: string,
  aliases: readonly string[],
  description: ControllerDescription,
  profile: string,
  buses: readonly [BusKind, number],
): DeviceType {
  return {
    name,
    aliases,
    parent: 'pci-device',
    bus: 'PCI',
    properties: PCI_PROPERTIES,
    harmless: PCI_HARMLESS,
    controller: () => ({ description, profile: profileNamed(profile) }),
    buses,
  };
}

function bridge(name: string, vendor: number, device: number, express: boolean): DeviceType {
  return {
    name,
    aliases: [],
    parent: 'pci-device',
    bus: 'PCI',
    properties: [...PCI_PROPERTIES, 'hotplug'],
    harmless: [...PCI_HARMLESS, ...BRIDGE_HARMLESS],
    bridge: { vendor, device, express },
  };
}

export const DEVICE_TYPES: readonly DeviceType[] = [
  plain('ich9-ahci', ['ahci'], ahci, 'ahci-q35', ['IDE', 6]),
  plain('piix3-ide', [], piixIde, 'piix3-pc', ['IDE', 2]),
  plain('lsi53c895a', ['lsi'], lsi53c895a, 'lsi53c895a', ['SCSI', 1]),
  plain('lsi53c810', [], lsi53c895a, 'lsi53c810', ['SCSI', 1]),
  {
    name: 'nvme',
    aliases: [],
    parent: 'pci-device',
    bus: 'PCI',
    properties: [
      ...PCI_PROPERTIES, ...BLOCK_PROPERTIES, 'cmb_size_mb', 'pmrdev', 'max_ioqpairs', 'num_queues', 'mdts',
    ], // biome-ignore format: a list
    harmless: [...PCI_HARMLESS, ...BLOCK_HARMLESS, ...NVME_HARMLESS],
    controller: (options, backends) => ({ description: nvme, profile: nvmeProfile(options, backends) }),
    hasDisk: true,
  },
  { ...VIRTIO, name: 'virtio-blk-pci', aliases: ['virtio-blk'], controller: virtioController(null) },
  { ...VIRTIO, name: 'virtio-blk-pci-transitional', controller: virtioController(true) },
  { ...VIRTIO, name: 'virtio-blk-pci-non-transitional', controller: virtioController(false) },
  bridge('pcie-root-port', 0x1b36, 0x000c, true),
  bridge('ioh3420', 0x8086, 0x3420, true),
  bridge('pcie-pci-bridge', 0x1b36, 0x000e, true),
  bridge('pci-bridge', 0x1b36, 0x0001, false),
  { ...IDE_DISK, name: 'ide-hd' },
  { ...IDE_DISK, name: 'ide-cd', isCdrom: true },
  { ...SCSI_DISK, name: 'scsi-hd' },
  { ...SCSI_DISK, name: 'scsi-cd', isCdrom: true },
];

/** Types that are only there to be named as parents, with their own parents. */
export const ABSTRACT_TYPES: Readonly<Record<string, string>> = {
  device: 'object',
  'pci-device': 'device',
  'virtio-blk-pci-base': 'pci-device',
  'ide-device': 'device',
  'scsi-device': 'device',
};

/** The type of that name or alias. Throws QtestError. */
export function deviceType(name: string): DeviceType {
  const type = DEVICE_TYPES.find((candidate) => candidate.name === name || candidate.aliases.includes(name));
  if (type === undefined) {
    const names = DEVICE_TYPES.flatMap((known) => [known.name, ...known.aliases]);
    throw new QtestError(
      `'${name}' is not a valid device model name${near(name, names) || `; there are ${names.join(', ')}`}`,
    );
  }
  return type;
}

/** Whether a -global for `name` can mean a device: its type, an alias, or what the type is a case of. */
export function isTypeName(name: string): boolean {
  return DEVICE_TYPES.some(
    (type) => type.name === name || type.parent === name || type.aliases.includes(name),
  );
}

/** Throws QtestError for an option that the type does not have. */
export function checkProperties(type: DeviceType, options: Options): void {
  for (const key of options.keys()) {
    const known: readonly string[] = [...COMMON_PROPERTIES, ...type.properties, ...type.harmless];
    if (!known.includes(key) && !key.startsWith('x-'))
      throw new QtestError(`Property '${type.name}.${key}' not found${near(key, known)}`);
  }
}

function profileNamed(name: string): Profile {
  const found = findProfile(name);
  if (found === undefined) throw new QtestError(`there is no profile "${name}"`);
  return found.profile;
}

/** A profile with other parameters, under a name of its own. */
function adapted(base: Profile, name: string, parameters: Profile['parameters']): Profile {
  return { ...base, name, parameters: { ...base.parameters, ...parameters } };
}

const NVME_QUEUES = 63;
const NVME_PAGE = 4096;
const NVME_BUFFER_MIB = 2;
const NVME_REGION_BYTES = NVME_BUFFER_MIB * 2 ** 20;

function nvmeProfile(options: Options, backends: Backends): Profile {
  const number = (key: string, preset: number, min: number, max: number): number =>
    toNumber(options.get(key) ?? `${preset}`, `nvme: ${key}`, min, max);
  const pmrdev = options.get('pmrdev');
  const region = pmrdev === undefined ? 0 : backends.memoryBytes(pmrdev);
  if (region > NVME_REGION_BYTES)
    throw new QtestError(
      `nvme: pmrdev "${pmrdev}" has ${region} bytes; at most ${NVME_REGION_BYTES} are possible`,
    );
  const queues = options.has('num_queues') ? number('num_queues', 2, 2, NVME_QUEUES + 2) - 1 : 0;
  return adapted(profileNamed('nvme'), 'nvme-qtest', {
    entries: 2048,
    readyUs: 1,
    queues:
      queues > 0
        ? Math.min(queues, NVME_QUEUES)
        : Math.min(number('max_ioqpairs', NVME_QUEUES, 1, 65535), NVME_QUEUES),
    mdts: number('mdts', 7, 1, 7),
    cmb: number('cmb_size_mb', 0, 0, NVME_BUFFER_MIB) * (2 ** 20 / NVME_PAGE),
    pmr: Math.ceil(region / NVME_PAGE),
  });
}

/** `transitional` null: as `disable-legacy` says. */
function virtioController(transitional: boolean | null): NonNullable<DeviceType['controller']> {
  return (options) => {
    const flag = (key: string, preset: boolean): boolean => {
      const value = options.get(key);
      return value === undefined || value === 'auto' ? preset : toSwitch(value, `virtio-blk-pci: ${key}`);
    };
    const number = (key: string, preset: number, min: number, max: number): number =>
      toNumber(options.get(key) ?? `${preset}`, `virtio-blk-pci: ${key}`, min, max);
    const legacy = transitional ?? !flag('disable-legacy', false);
    if (flag('disable-modern', false))
      throw new QtestError(
        'virtio-blk-pci: disable-modern=on: a device with the legacy interface alone is not there',
      );
    const queues = number('num-queues', 1, 1, 16);
    const size = number('queue-size', 256, 2, 1024);
    const sectors = 4194303;
    const base = profileNamed(legacy ? 'virtio-blk' : 'virtio-blk-modern');
    return {
      description: virtioBlk,
      profile: adapted(base, 'virtio-blk-qtest', {
        queues,
        queueSize: size,
        segMax: size - 2,
        vectors: number('vectors', queues + 1, 0, 32),
        packed: flag('packed', false),
        indirect: flag('indirect_desc', true),
        eventIndex: flag('event_idx', true),
        accessPlatform: flag('iommu_platform', false),
        discardSectors: flag('discard', true) ? number('max-discard-sectors', sectors, 1, sectors) : 0,
        zeroesSectors: flag('write-zeroes', true)
          ? number('max-write-zeroes-sectors', sectors, 1, sectors)
          : 0,
      }),
    };
  };
}
