// Commands of QMP about types and objects: what devices there are, and a tree of those that the machine has.

import type { Device } from '../device-tree.ts';
import { ABSTRACT_TYPES, COMMON_PROPERTIES, DEVICE_TYPES, type DeviceType } from '../device-types.ts';
import { QtestError } from '../errors.ts';
import { flattenOptions } from '../options.ts';
import type { System } from '../system.ts';
import { type Command, flag, type Json, optional, text } from './command.ts';

interface TypeInfo {
  readonly name: string;
  readonly parent: string | null;
  readonly abstract: boolean;
}

const TYPES: readonly TypeInfo[] = [
  { name: 'object', parent: null, abstract: true },
  ...Object.entries(ABSTRACT_TYPES).map(([name, parent]) => ({ name, parent, abstract: true })),
  ...DEVICE_TYPES.map(({ name, parent }) => ({ name, parent, abstract: false })),
  { name: 'machine', parent: 'object', abstract: true },
  ...['none-machine', 'pc-i440fx-7.2-machine', 'pc-q35-7.2-machine'].map((name) => ({
    name,
    parent: 'machine',
    abstract: false,
  })),
];

const PROPERTIES_SHAPE = [{ name: 'str', type: 'str' }] as const;

export const OBJECT_COMMANDS: Readonly<Record<string, Command>> = {
  'qom-list-types': {
    arguments: { '*implements': 'str', '*abstract': 'bool' },
    preconfig: true,
    returns: [{ name: 'str', '*abstract': 'bool', '*parent': 'str' }],
    run: (_host, args) => {
      const base = optional(args, 'implements');
      return TYPES.filter(
        (type) => (flag(args, 'abstract') || !type.abstract) && (base === undefined || isA(type, base)),
      ).map(({ name, parent, abstract }) => ({
        name,
        ...(abstract ? { abstract } : {}),
        ...(parent === null ? {} : { parent }),
      }));
    },
  },
  'device-list-properties': {
    arguments: { typename: 'str' },
    preconfig: true,
    returns: PROPERTIES_SHAPE,
    run: (_host, args) => propertiesOf(text(args, 'typename')).map((name) => ({ name, type: 'str' })),
  },
  'qom-list-properties': {
    arguments: { typename: 'str' },
    preconfig: true,
    returns: PROPERTIES_SHAPE,
    run: (_host, args) =>
      ['type', ...propertiesOf(text(args, 'typename'))].map((name) => ({ name, type: 'string' })),
  },
  'qom-list': {
    arguments: { path: 'str' },
    preconfig: true,
    returns: PROPERTIES_SHAPE,
    run: ({ system }, args) => listObject(system, text(args, 'path')),
  },
  'qom-get': {
    arguments: { path: 'str', property: 'str' },
    preconfig: true,
    returns: 'any',
    run: ({ system }, args) => readProperty(system, text(args, 'path'), text(args, 'property')),
  },
  'qom-set': {
    arguments: { path: 'str', property: 'str', value: 'any' },
    preconfig: true,
    run: ({ system }, args) => {
      const [path, property] = [text(args, 'path'), text(args, 'property')];
      readProperty(system, path, property);
      throw new QtestError(`Property '${property}' of ${path} cannot be changed while the machine is there`);
    },
  },
  'object-add': {
    arguments: { 'qom-type': 'str', id: 'str', '*size': 'int', '*': 'any' },
    preconfig: true,
    run: ({ system }, args) => {
      system.backends.add(flattenOptions(args, 'object-add'));
    },
  },
  'object-del': {
    arguments: { id: 'str' },
    preconfig: true,
    run: ({ system }, args) => {
      const id = text(args, 'id');
      if (system.tree.devices.some(({ options }) => options.get('pmrdev') === id))
        throw new QtestError(`object '${id}' is in use, can not be deleted`);
      system.backends.remove(id);
    },
  },
};

function isA(type: TypeInfo, base: string): boolean {
  if (type.name === base) return true;
  const parent = TYPES.find(({ name }) => name === type.parent);
  return parent !== undefined && isA(parent, base);
}

function propertiesOf(name: string): string[] {
  const type = DEVICE_TYPES.find((candidate) => candidate.name === name || candidate.aliases.includes(name));
  if (type !== undefined) return namesOf(type);
  if (TYPES.some((candidate) => candidate.name === name && candidate.abstract))
    throw new QtestError(`Parameter 'typename' expects a non-abstract device type`);
  throw new QtestError(`Device '${name}' not found`, 'DeviceNotFound');
}

function namesOf({ properties, harmless }: DeviceType): string[] {
  return [...properties, ...harmless].filter((name) => !COMMON_PROPERTIES.some((common) => common === name));
}

// The tree: /machine with the containers that clients look into.

const CONTAINERS = ['peripheral', 'peripheral-anon', 'unattached'];
const MACHINE = '/machine';

function deviceAt(system: System, path: string): Device | undefined {
  return path.startsWith('/')
    ? system.tree.devices.find((device) => device.path === path)
    : system.tree.find(path);
}

function listObject(system: System, path: string): Json {
  const plain = path.replace(/(.)\/+$/, '$1');
  const type = { name: 'type', type: 'string' };
  if (plain === '/') return [type, { name: 'machine', type: 'child<machine>' }];
  if (plain === MACHINE || plain === 'machine')
    return [type, ...CONTAINERS.map((name) => ({ name, type: 'child<container>' }))];
  const container = CONTAINERS.find((name) => plain === `${MACHINE}/${name}`);
  if (container !== undefined) {
    const inside = system.tree.devices.filter((device) => device.path.startsWith(`${plain}/`));
    return [
      type,
      ...inside.map((device) => ({
        name: device.path.slice(plain.length + 1),
        type: `child<${device.type.name}>`,
      })),
    ];
  }
  const device = deviceAt(system, plain);
  if (device === undefined) throw notFound(path);
  return [type, ...namesOf(device.type).map((name) => ({ name, type: 'string' }))];
}

function readProperty(system: System, path: string, property: string): Json {
  const plain = path.replace(/(.)\/+$/, '$1');
  const device = deviceAt(system, plain);
  if (device !== undefined) {
    if (property === 'type') return device.type.name;
    if (namesOf(device.type).includes(property)) return device.options.get(property) ?? '';
    throw new QtestError(`Property '${device.type.name}.${property}' not found`);
  }
  const isThere =
    plain === '/' || plain === MACHINE || CONTAINERS.some((name) => plain === `${MACHINE}/${name}`);
  if (!isThere) throw notFound(path);
  if (property !== 'type') throw new QtestError(`Property 'container.${property}' not found`);
  return plain === MACHINE ? `${system.line.machine}-machine` : 'container';
}

function notFound(path: string): QtestError {
  return new QtestError(`Device '${path}' not found`, 'DeviceNotFound');
}
