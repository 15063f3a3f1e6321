-- Whether a worker takes bundles of its owner only, because it runs them without a container.
ALTER TABLE `worker` ADD COLUMN `own_bundles_only` BOOLEAN NOT NULL DEFAULT 0;
