// Commands of QMP about the machine as a whole: its state, reset, migration, devices.

import { QtestError } from '../errors.ts';
import { runHuman } from '../hmp.ts';
import { flattenOptions } from '../options.ts';
import { After, type Command, flag, type Json, optional, QMP_VERSION, text } from './command.ts';

interface MachineOptions {
  readonly cpus?: number;
  readonly isDefault?: boolean;
  readonly alias?: string;
}

/** Fields as the client's schema has them: clients refuse others, and insist on theirs. `acpi` is one from 8.0 on. */
function machines(isRecent: boolean): Json {
  const all: readonly (readonly [string, MachineOptions])[] = [
    ['none', { cpus: 1 }],
    ['pc', { isDefault: true, alias: 'pc-i440fx-7.2' }],
    ['q35', { alias: 'pc-q35-7.2' }],
  ];
  return all.map(([name, options]) => ({ ...machine(name, options), ...(isRecent ? { acpi: false } : {}) }));
}

function machine(name: string, options: MachineOptions): { readonly [key: string]: Json } {
  const { cpus = 255, isDefault = false, alias } = options;
  return {
    name,
    ...(alias === undefined ? {} : { alias }),
    ...(isDefault ? { 'is-default': true } : {}),
    'cpu-max': cpus,
    'hotpluggable-cpus': false,
    'numa-mem-supported': false,
    deprecated: false,
  };
}

const VERSION_SHAPE = { qemu: { major: 'int', minor: 'int', micro: 'int' }, package: 'str' } as const;
const MACHINE_SHAPE = {
  name: 'str',
  '*alias': 'str',
  '*is-default': 'bool',
  'cpu-max': 'int',
  'hotpluggable-cpus': 'bool',
  'numa-mem-supported': 'bool',
  deprecated: 'bool',
  '*acpi': 'bool',
} as const;

export const MACHINE_COMMANDS: Readonly<Record<string, Command>> = {
  'query-version': { preconfig: true, returns: VERSION_SHAPE, run: () => QMP_VERSION },
  'query-name': { preconfig: true, returns: { '*name': 'str' }, run: () => ({}) },
  'query-kvm': {
    returns: { enabled: 'bool', present: 'bool' },
    run: () => ({ enabled: false, present: false }),
  },
  'query-target': { preconfig: true, returns: { arch: 'str' }, run: () => ({ arch: 'x86_64' }) },
  'query-machines': {
    preconfig: true,
    returns: [MACHINE_SHAPE],
    run: ({ system }) => machines(system.line.isRecent),
  },
  'query-cpus-fast': { returns: ['any'], run: () => [] },
  'query-iothreads': { preconfig: true, returns: ['any'], run: () => [] },
  'query-memory-size-summary': {
    returns: { 'base-memory': 'int' },
    run: ({ system }) => ({ 'base-memory': system.line.ramBytes }),
  },
  'query-status': {
    preconfig: true,
    returns: { running: 'bool', singlestep: 'bool', status: 'str' },
    run: ({ system }) => ({ running: system.running, singlestep: false, status: system.state }),
  },
  stop: {
    run: ({ system }) => {
      system.stop();
    },
  },
  cont: {
    run: ({ system }) => {
      if (system.state === 'inmigrate') throw new QtestError('Guest is waiting for an incoming migration');
      if (system.state === 'postmigrate')
        throw new QtestError('the machine and its images are with another process since they were migrated');
      system.resume();
    },
  },
  'x-exit-preconfig': {
    preconfig: true,
    run: ({ system }) => {
      system.exitPreconfig();
    },
  },
  system_reset: { run: ({ system }) => new After(() => system.reset(false, 'host-qmp-system-reset')) },
  system_powerdown: { run: ({ system }) => new After(() => system.listener.event('POWERDOWN')) },
  quit: {
    preconfig: true,
    run: (host) =>
      new After(() => {
        host.system.listener.event('SHUTDOWN', { guest: false, reason: 'host-qmp-quit' });
        host.quit();
      }),
  },
  migrate: {
    arguments: { uri: 'str', '*blk': 'bool', '*inc': 'bool', '*detach': 'bool', '*resume': 'bool' },
    run: (host, args) => {
      if (flag(args, 'blk') || flag(args, 'inc'))
        throw new QtestError('disks are not migrated: both sides open the same images');
      host.migrate(text(args, 'uri'));
    },
  },
  'migrate-incoming': {
    arguments: { uri: 'str' },
    run: (host, args) => {
      if (host.system.state !== 'inmigrate')
        throw new QtestError("'-incoming' was not specified on the command line");
      host.listenIncoming(text(args, 'uri'));
    },
  },
  'migrate-pause': {
    oob: true,
    run: () => {
      throw new QtestError('migrate-pause is currently only supported during postcopy-active state');
    },
  },
  'query-migrate': {
    returns: { '*status': 'str', '*error-desc': 'str' },
    run: ({ migration }) => ({
      ...(migration === null ? {} : { status: migration.status }),
      ...(migration?.error == null ? {} : { 'error-desc': migration.error }),
    }),
  },
  'migrate-set-capabilities': { arguments: { capabilities: 'any' }, run: () => {} },
  'query-migrate-capabilities': { returns: ['any'], run: () => [] },
  'migrate-set-parameters': { arguments: { '*': 'any' }, run: () => {} },
  device_add: {
    arguments: { driver: 'str', '*': 'any' },
    run: ({ system }, args) => {
      system.plug(flattenOptions(args, 'device_add'));
    },
  },
  device_del: {
    arguments: { id: 'str' },
    run: ({ system }, args) => {
      system.unplug(text(args, 'id'));
    },
  },
  'human-monitor-command': {
    arguments: { 'command-line': 'str', '*cpu-index': 'int' },
    returns: 'str',
    run: (host, args) => runHuman(host, optional(args, 'command-line') ?? ''),
  },
};
