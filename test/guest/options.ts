// What `npm run guest` is asked for: its command line, checked before anything is downloaded or booted.

import { parseArgs } from 'node:util';
import { findController } from '../../src/controllers/index.ts';
import { GUEST_DISKS, type GuestDisk } from './guests.ts';
import type { Release } from './packages.ts';

/** The command line makes no sense; the message says what would. */
export class Usage extends Error {}

export interface GuestOptions {
  readonly devices: readonly GuestDisk[];
  readonly release: Release;
  readonly profile?: string | undefined;
  readonly jobs: number;
  readonly speed: boolean;
  readonly nbd: boolean;
  readonly json: boolean;
  readonly verbose: boolean;
}

const RELEASES: readonly Release[] = ['bookworm', 'bullseye'];

/** What parseArgs() throws, with a way out. */
export function usageOf(error: unknown): Usage {
  const said = error instanceof Error ? error.message : String(error);
  return error instanceof Usage ? error : new Usage(`${said}; --help lists what there is`);
}

/** Throws Usage; 'help' is what --help asks for. */
export function guestOptions(args: readonly string[]): GuestOptions | 'help' {
  const { values, positionals } = parse(args);
  if (values.help) return 'help';
  const devices = positionals.length === 0 ? [...GUEST_DISKS] : positionals.map(find);
  const release = RELEASES.find((name) => name === values.release);
  if (release === undefined)
    throw new Usage(`release is ${values.release}; it must be ${RELEASES.join(' or ')}`);
  const jobs = Number(values.jobs);
  if (!(Number.isInteger(jobs) && jobs >= 1))
    throw new Usage(`jobs is ${values.jobs}; it must be a whole number from 1 on`);
  const { profile, nbd, json, verbose } = values;
  if (profile !== undefined) checkProfile(profile, devices);
  return { devices, release, profile, jobs, speed: !values['no-speed'], nbd, json, verbose };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        verbose: { type: 'boolean', default: false },
        nbd: { type: 'boolean', default: false },
        'no-speed': { type: 'boolean', default: false },
        profile: { type: 'string' },
        release: { type: 'string', default: 'bookworm' },
        jobs: { type: 'string', default: '1' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw usageOf(error);
  }
}

function find(name: string): GuestDisk {
  const device = GUEST_DISKS.find(({ controller }) => controller === name);
  if (device !== undefined) return device;
  const known = GUEST_DISKS.map(({ controller }) => controller).join(', ');
  throw new Usage(`no controller is called "${name}"; there are ${known}`);
}

function checkProfile(profile: string, devices: readonly GuestDisk[]): void {
  const [device] = devices;
  if (device === undefined || devices.length !== 1)
    throw new Usage(
      `--profile ${profile} wants one controller: npm run guest -- ahci --profile ahci-26lines`,
    );
  const names = findController(device.controller)?.profiles.map(({ name }) => name) ?? [];
  if (!names.includes(profile))
    throw new Usage(`${device.controller} has no profile "${profile}"; it has ${names.join(', ')}`);
}
