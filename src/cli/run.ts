// `backplane run`: finds the scenario, the input and the disk, runs, prints.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Profile } from '../controllers/index.ts';
import { loadModule } from '../machine/index.ts';
import defaultScenario from '../scenario/builtin/default.json' with { type: 'json' };
import { ProfileError, parseProfile } from '../scenario/profile.ts';
import { toJson } from '../scenario/report.ts';
import { checkFits, runScenario } from '../scenario/run.ts';
import { KERNELS, parseScenario, type Scenario, ScenarioError } from '../scenario/schema.ts';
import { formatEvent } from '../trace/index.ts';
import { checkController } from './controllers.ts';
import { blameDriver, loadDriver } from './driver.ts';
import {
  EXIT_FINE,
  EXIT_FOUND,
  EXIT_INTERRUPTED,
  parseSize,
  parseWhole,
  suggest,
  UsageError,
} from './errors.ts';
import { type Image, isSameFile, openImage } from './image.ts';
import { attempt, hashInput, openInput, sha256 } from './input.ts';
import { Interrupt, Interrupted } from './interrupt.ts';
import { Progress } from './progress.ts';
import { formatReport } from './report.ts';
import { formatCount, formatPath, paintFor } from './style.ts';

export interface RunFlags {
  readonly file?: string;
  readonly controller?: string;
  readonly profile?: string;
  readonly kernel?: string;
  readonly driver?: string;
  readonly image?: string;
  readonly imageFormat?: string;
  readonly create?: string;
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
    const list = Object.entries(BUILT_IN).map(([name, value]) => ({
      name,
      about: parseScenario(value, name).about,
    }));
    const text = list.map(({ name, about }) => `${name}  ${about}`).join('\n');
    process.stdout.write(`${flags.json === true ? JSON.stringify(list, null, 2) : text}\n`);
    return EXIT_FINE;
  }
  checkFlags(flags);
  const profile = flags.profile === undefined ? undefined : readProfile(flags.profile);
  const scenario = override(findScenario(name), flags, profile);
  const attach = flags.driver === undefined ? undefined : await loadDriver(flags.driver);
  const file = openInput(flags.file ?? defaultInput());
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
        : await openImage(flags.image, {
            inPlace: flags.inPlace === true,
            format: flags.imageFormat,
            create: flags.create,
          });
    const pause = async (): Promise<void> => {
      await progress.pause();
      interrupt.check();
    };
    checkFits(scenario, file, image?.bytes);
    const digest = await hashInput(file, (done) => {
      progress.show(done, `reading ${file.path}`);
      return pause();
    });
    const report = await runScenario(scenario, {
      module: await loadModule(),
      input: { ...file, sha256: digest },
      hash: sha256,
      noBounce: !flags.bounce,
      onProgress: (done, what) => progress.show(done, what),
      pause,
      ...(profile === undefined ? {} : { profile }),
      ...(attach === undefined ? {} : { attach, driver: formatPath(flags.driver ?? '') }),
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
    if (image !== undefined && image.trouble !== null) process.stderr.write(`backplane: ${image.trouble}\n`);
    if (!flags.bounce && report.ok) {
      process.stderr.write(
        `backplane: --no-bounce changed nothing: ${report.board} reaches every page; ahci-sb600, for one, does not\n`,
      );
    }
    return report.ok ? EXIT_FINE : EXIT_FOUND;
  } catch (error) {
    if (!(error instanceof Interrupted)) {
      throw flags.driver === undefined ? error : blameDriver(flags.driver, error);
    }
    progress.end();
    sayInterrupted();
    return EXIT_INTERRUPTED;
  } finally {
    progress.end();
    interrupt.end();
    file.close();
    await image?.close();
  }
}

/** Options that contradict each other, or would do harm together. */
function checkFlags(flags: RunFlags): void {
  for (const [option, value] of Object.entries({
    file: flags.file,
    image: flags.image,
    profile: flags.profile,
    driver: flags.driver,
  })) {
    if (value === '') throw new UsageError(`--${option} is empty; it takes the path of a file`);
  }
  for (const [option, value] of Object.entries({
    'in-place': flags.inPlace,
    'image-format': flags.imageFormat,
    create: flags.create,
  })) {
    if (value === undefined || flags.image !== undefined) continue;
    throw new UsageError(`--${option} says how --image is used: give it too`);
  }
  if (flags.image !== undefined && flags.diskSize !== undefined) {
    throw new UsageError('--disk-size is for a disk in memory; an image has a size of its own');
  }
  if (flags.inPlace === true && flags.image !== undefined && flags.file !== undefined) {
    if (isSameFile(flags.file, flags.image)) {
      throw new UsageError(
        `--file and --image are the same file, ${formatPath(flags.image)}, which would be read while it is written; leave out --in-place`,
      );
    }
  }
}

/** What an interrupted run leaves in the image. */
function leftBehind(image: Image | undefined): string {
  if (image === undefined || image.written === 0) return 'nothing was written';
  return `${formatPath(image.path)} is changed: ${formatCount(image.written)} bytes were written, the rest is as it was`;
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
    return JSON.parse(text.replace(/^\uFEFF/, '')); // some editors put a byte order mark first
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
  if (profile !== undefined && flags.controller !== undefined && flags.controller !== profile.controller) {
    throw new UsageError(
      `--profile ${profile.name} is for "${profile.controller}", and --controller says "${flags.controller}"; leave one out`,
    );
  }
  const controller = profile?.controller ?? flags.controller ?? scenario.controller;
  checkController(controller, flags.controller === undefined ? `scenario ${scenario.name}: ` : '');
  return {
    ...scenario,
    ...(flags.kernel === undefined ? {} : onKernel(scenario, flags.kernel)),
    controller,
    seed: flags.seed === undefined ? scenario.seed : parseWhole(flags.seed, '--seed', 0, 2 ** 32 - 1),
    disk:
      flags.diskSize === undefined
        ? scenario.disk
        : { ...scenario.disk, bytes: parseSize(flags.diskSize, '--disk-size') },
  };
}

/** Every part on one kernel. */
function onKernel({ parts }: Scenario, name: string): Pick<Scenario, 'kernel' | 'parts'> {
  const kernel = KERNELS.find((known) => known === name);
  if (kernel === undefined)
    throw new UsageError(`no kernel is called "${name}"${suggest(name, [...KERNELS])}`);
  return { kernel, parts: parts.map((part) => ({ ...part, kernel })) };
}

/** The project's own lock file, or package.json where it is installed without one: this code is dist/cli.js. */
function defaultInput(): string {
  const [lock, manifest] = ['../package-lock.json', '../package.json'].map((name) =>
    fileURLToPath(new URL(name, import.meta.url)),
  ) as [string, string];
  return existsSync(lock) ? lock : manifest;
}
