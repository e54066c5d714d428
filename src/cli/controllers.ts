// `backplane controllers`: what there is, and what its DMA can do.

import {
  CONTROLLERS,
  type ControllerDescription,
  findController,
  findProfile,
} from '../controllers/index.ts';
import { EXIT_FINE, suggest, UsageError } from './errors.ts';
import { formatBytes, paintFor, plural } from './style.ts';

/** The longest name of a profile. */
const NAME_WIDTH = Math.max(
  ...CONTROLLERS.flatMap(({ profiles }) => profiles.map(({ name }) => name.length)),
);

/** Prints the list; the exit status. */
export function listControllers(options: { readonly json?: boolean }): number {
  if (options.json === true) process.stdout.write(`${JSON.stringify(CONTROLLERS.map(asJson), null, 2)}\n`);
  else process.stdout.write(asText());
  return EXIT_FINE;
}

/** Throws UsageError where no controller and no profile is called so; `from` says who names it. */
export function checkController(name: string, from = ''): void {
  if (findController(name) !== undefined || findProfile(name) !== undefined) return;
  const known = CONTROLLERS.flatMap(({ kind, profiles }) => [
    kind,
    ...profiles.map((profile) => profile.name),
  ]);
  throw new UsageError(`${from}no controller is called "${name}"${suggest(name, [...new Set(known)])}`);
}

function asJson(description: ControllerDescription): object {
  const [plain] = description.profiles;
  return {
    name: description.kind,
    title: description.title,
    bus: description.bus,
    ...(plain === undefined ? {} : description.limits(plain)),
    pciId: plain?.pci === undefined ? null : `${id(plain.pci.vendor)}:${id(plain.pci.device)}`,
    profiles: description.profiles.map((profile) => ({
      name: profile.name,
      board: profile.board,
      artificial: profile.artificial,
      about: profile.about,
      ...description.limits(profile),
    })),
  };
}

function id(value: number | string): string {
  return Number(value).toString(16).padStart(4, '0');
}

/** A limit: `4 MiB`, `16 MiB − 1`. */
function atMost(bytes: number): string {
  const even = bytes + (bytes % 2);
  return even === bytes ? formatBytes(bytes) : `${formatBytes(even)} − 1`;
}

function asText(): string {
  const paint = paintFor(process.stdout);
  const lines: string[] = [];
  for (const description of CONTROLLERS) {
    lines.push(`${paint.bold(description.kind)}  ${description.title}, ${description.bus.toUpperCase()}`);
    for (const profile of description.profiles) {
      const limits = description.limits(profile);
      const boundary = limits.boundary === 0 ? 'no boundary' : `boundary ${formatBytes(limits.boundary)}`;
      const artificial = profile.artificial ? ' (artificial)' : '';
      lines.push(
        `  ${profile.name.padEnd(NAME_WIDTH)} ${String(limits.addressBits).padStart(2)} lines, ` +
          `${plural(limits.maxSegments, 'segment')} of at most ${atMost(limits.maxSegmentBytes)}, ${boundary}, ` +
          `${limits.alignment === 1 ? 'any address' : `addresses in steps of ${limits.alignment}`}  ${paint.dim(profile.board + artificial)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}
