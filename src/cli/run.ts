// `backplane run`: finds the scenario, the input and the disk, runs, prints.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CONTROLLERS, findController, findProfile, type Profile } from '../controllers/index.ts';
import { loadModule } from '../machine/index.ts';
import defaultScenario from '../scenario/builtin/default.json' with { type: 'json' };
import { ProfileError, parseProfile } from '../scenario/profile.ts';
import { toJson } from '../scenario/report.ts';
import { runScenario } from '../scenario/run.ts';
import { parseScenario, type Scenario, ScenarioError } from '../scenario/schema.ts';
import { formatEvent } from '../trace/index.ts';
import {
  EXIT_FINE,
  EXIT_FOUND,
  EXIT_INTERRUPTED,
  parseSize,
  parseWhole,
  suggest,
  UsageError,
} from './errors.ts';
import { type Image, openImage } from './image.ts';
import { attempt, openInput, sha256 } from './input.ts';
import { Interrupt, Interrupted } from './interrupt.ts';
import { Progress } from './progress.ts';
import { formatReport } from './report.ts';
import { paintFor } from './style.ts';

export interface RunFlags {
  readonly file?: string;
  readonly controller?: string;
  readonly profile?: string;
  readonly image?: string;
  readonly inPlace?: boolean;
  readonly diskSize?: string;
  /** False with --no-bounce. */
  readonly bounce: boolean;
  readonly seed?: string;
  readonly trace?: boolean;
  readonly json?: boolean;
  readonly list?: boolean;
}

const BUILT_IN: Readonly<Record<string, unknown>> = { default: defaultScenario };

/** Runs a scenario and prints its report; the exit status. Throws UsageError for what the user can put right. */
export async function run(name: string, flags: RunFlags): Promise<number> {
  if (flags.list === true) {
    for (const [key, value] of Object.entries(BUILT_IN)) {
      process.stdout.write(`${key}  ${parseScenario(value, key).about}\n`);
    }
    return EXIT_FINE;
  }
  if (flags.inPlace === true && flags.image === undefined) {
    throw new UsageError('--in-place says how --image is used: give it too');
  }
  if (flags.image !== undefined && flags.diskSize !== undefined) {
    throw new UsageError('--disk-size is for a disk in memory; an image has a size of its own');
  }
  const profile = flags.profile === undefined ? undefined : readProfile(flags.profile);
  const scenario = override(findScenario(name), flags, profile);
  const input = openInput(flags.file ?? defaultInput());
  const progress = new Progress(process.stderr);
  let image: Image | undefined;
  const sayInterrupted = (): void => {
    process.stderr.write(`backplane: interrupted: ${leftBehind(image)}\n`);
  };
  const interrupt = new Interrupt(() => {
    sayInterrupted();
    process.exit(EXIT_INTERRUPTED);
  });
  try {
    image =
      flags.image === undefined
        ? undefined
        : await openImage(flags.image, { inPlace: flags.inPlace === true });
    const report = await runScenario(scenario, {
      module: await loadModule(),
      input,
      hash: sha256,
      noBounce: !flags.bounce,
      onProgress: (done, what) => progress.show(done, what),
      pause: async () => {
        await progress.pause();
        interrupt.check();
      },
      ...(profile === undefined ? {} : { profile }),
      ...(image === undefined ? {} : { medium: (bounce) => (image as Image).medium(bounce) }),
      ...(flags.trace === true
        ? { onEvent: (event) => void process.stderr.write(`${formatEvent(event)}\n`) }
        : {}),
    });
    progress.end();
    process.stdout.write(
      flags.json === true
        ? `${JSON.stringify(toJson(report), null, 2)}\n`
        : `${formatReport(report, paintFor(process.stdout))}\n`,
    );
    return report.ok ? EXIT_FINE : EXIT_FOUND;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    progress.end();
    sayInterrupted();
    return EXIT_INTERRUPTED;
  } finally {
    progress.end();
    interrupt.end();
    input.close();
    image?.close();
  }
}

/** What an interrupted run leaves in the image. */
function leftBehind(image: Image | undefined): string {
  if (image === undefined || image.written === 0) return 'nothing was written';
  return `${image.path} is half written: ${image.written} bytes of it are new, the rest is as it was`;
}

function readProfile(path: string): Profile {
  return parseProfile(
    readJson(path, (problem) => new ProfileError(path, [problem])),
    path,
  );
}

function readJson(path: string, wrong: (problem: string) => Error): unknown {
  const text = attempt(path, () => readFileSync(path, 'utf8'));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw wrong(`it is not JSON: ${(error as Error).message}`);
  }
}

function findScenario(name: string): Scenario {
  if (Object.hasOwn(BUILT_IN, name)) return parseScenario(BUILT_IN[name], name);
  if (!/[./\\]/.test(name)) {
    throw new UsageError(
      `no scenario is called "${name}"${suggest(name, Object.keys(BUILT_IN))}; a file's name ends in .json`,
    );
  }
  const value = readJson(name, (problem) => new ScenarioError(name, [problem]));
  return parseScenario(value, name);
}

/** What the command line says wins over what the scenario says. */
function override(scenario: Scenario, flags: RunFlags, profile: Profile | undefined): Scenario {
  const controller = profile?.controller ?? flags.controller ?? scenario.controller;
  if (findController(controller) === undefined && findProfile(controller) === undefined) {
    const known = CONTROLLERS.flatMap((description) => [
      description.kind,
      ...description.profiles.map(({ name }) => name),
    ]);
    throw new UsageError(
      `no controller is called "${controller}"${suggest(controller, [...new Set(known)])}`,
    );
  }
  return {
    ...scenario,
    controller,
    seed: flags.seed === undefined ? scenario.seed : parseWhole(flags.seed, '--seed', 0, 2 ** 32 - 1),
    disk:
      flags.diskSize === undefined
        ? scenario.disk
        : { ...scenario.disk, bytes: parseSize(flags.diskSize, '--disk-size') },
  };
}

/** The project's own lock file: this code is dist/cli.js. */
function defaultInput(): string {
  return fileURLToPath(new URL('../package-lock.json', import.meta.url));
}
