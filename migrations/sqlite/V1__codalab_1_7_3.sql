-- The tables of CodaLab 1.7.3 (alembic revision db3ca94867b3) with the types SQLite has. Text that MySQL's default
-- collation compares without regard to case is declared NOCASE; ids are AUTOINCREMENT because they must never be
-- reused; every foreign-key column has an index because SQLite makes none by itself.

CREATE TABLE IF NOT EXISTS `alembic_version` (
  `version_num` VARCHAR(32) NOT NULL,
  PRIMARY KEY (`version_num`)
);

CREATE TABLE IF NOT EXISTS `bundle` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `bundle_type` VARCHAR(63) NOT NULL,
  `command` TEXT COLLATE NOCASE NULL,
  `state` VARCHAR(63) NOT NULL,
  `owner_id` VARCHAR(255) NULL,
  `frozen` DATETIME NULL,
  `is_anonymous` INTEGER NOT NULL DEFAULT 0,
  `storage_type` VARCHAR(255) NULL,
  `is_dir` INTEGER NULL,
  UNIQUE (`uuid`)
);

CREATE INDEX IF NOT EXISTS `state_index` ON `bundle` (`state`);

CREATE TABLE IF NOT EXISTS `user` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `user_name` VARCHAR(63) COLLATE NOCASE NOT NULL,
  `email` VARCHAR(254) COLLATE NOCASE NOT NULL,
  `notifications` INTEGER NOT NULL DEFAULT 2,
  `last_login` DATETIME NULL,
  `is_active` INTEGER NOT NULL DEFAULT 1,
  `first_name` VARCHAR(30) COLLATE NOCASE NULL,
  `last_name` VARCHAR(30) COLLATE NOCASE NULL,
  `date_joined` DATETIME NOT NULL,
  `has_access` INTEGER NULL DEFAULT 0,
  `is_verified` INTEGER NOT NULL DEFAULT 0,
  `password` VARCHAR(128) NOT NULL,
  `affiliation` VARCHAR(255) COLLATE NOCASE NULL,
  `url` VARCHAR(255) NULL,
  `time_quota` DOUBLE NOT NULL,
  `parallel_run_quota` INTEGER NOT NULL DEFAULT 3,
  `time_used` DOUBLE NOT NULL,
  `disk_quota` BIGINT NOT NULL,
  `disk_used` BIGINT NOT NULL,
  `avatar_id` VARCHAR(63) NULL,
  UNIQUE (`user_id`),
  UNIQUE (`user_name`),
  UNIQUE (`email`)
);

CREATE TABLE IF NOT EXISTS `group` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `name` VARCHAR(255) COLLATE NOCASE NOT NULL,
  `user_defined` INTEGER NULL,
  `owner_id` VARCHAR(255) NULL,
  UNIQUE (`uuid`)
);

CREATE INDEX IF NOT EXISTS `group_name_index` ON `group` (`name`);

CREATE INDEX IF NOT EXISTS `group_owner_id_index` ON `group` (`owner_id`);

CREATE TABLE IF NOT EXISTS `worksheet` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `name` VARCHAR(255) COLLATE NOCASE NOT NULL,
  `owner_id` VARCHAR(255) NULL,
  `title` VARCHAR(255) COLLATE NOCASE NULL,
  `frozen` DATETIME NULL,
  `is_anonymous` INTEGER NOT NULL DEFAULT 0,
  `date_created` DATETIME NULL,
  `date_last_modified` DATETIME NULL,
  UNIQUE (`uuid`)
);

CREATE INDEX IF NOT EXISTS `worksheet_name_index` ON `worksheet` (`name`);

CREATE INDEX IF NOT EXISTS `worksheet_owner_index` ON `worksheet` (`owner_id`);

CREATE TABLE IF NOT EXISTS `bundle_store` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `owner_id` VARCHAR(255) NULL,
  `name` VARCHAR(255) COLLATE NOCASE NOT NULL,
  `storage_type` VARCHAR(255) NULL,
  `storage_format` VARCHAR(255) NULL,
  `url` VARCHAR(255) NULL,
  `authentication` VARCHAR(255) NULL,
  `authentication_env` VARCHAR(255) NULL,
  UNIQUE (`uuid`),
  UNIQUE (`name`)
);

CREATE INDEX IF NOT EXISTS `bundle_store_owner_index` ON `bundle_store` (`owner_id`);

CREATE TABLE IF NOT EXISTS `bundle_metadata` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `metadata_key` VARCHAR(63) NOT NULL,
  `metadata_value` TEXT COLLATE NOCASE NOT NULL,
  FOREIGN KEY (`bundle_uuid`) REFERENCES `bundle` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `bundle_metadata_bundle_uuid_index` ON `bundle_metadata` (`bundle_uuid`);

CREATE INDEX IF NOT EXISTS `metadata_kv_index` ON `bundle_metadata` (`metadata_key`, `metadata_value`);

CREATE TABLE IF NOT EXISTS `bundle_dependency` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `child_uuid` VARCHAR(63) NOT NULL,
  `child_path` TEXT NOT NULL,
  `parent_uuid` VARCHAR(63) NOT NULL,
  `parent_path` TEXT NOT NULL,
  FOREIGN KEY (`child_uuid`) REFERENCES `bundle` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `bundle_dependency_child_uuid_index` ON `bundle_dependency` (`child_uuid`);

CREATE TABLE IF NOT EXISTS `bundle_location` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `bundle_store_uuid` VARCHAR(63) NOT NULL,
  FOREIGN KEY (`bundle_uuid`) REFERENCES `bundle` (`uuid`),
  FOREIGN KEY (`bundle_store_uuid`) REFERENCES `bundle_store` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `bundle_location_bundle_uuid_index` ON `bundle_location` (`bundle_uuid`);

CREATE INDEX IF NOT EXISTS `bundle_location_bundle_store_uuid_index` ON `bundle_location` (`bundle_store_uuid`);

CREATE TABLE IF NOT EXISTS `worksheet_item` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `worksheet_uuid` VARCHAR(63) NOT NULL,
  `bundle_uuid` VARCHAR(63) NULL,
  `subworksheet_uuid` VARCHAR(63) NULL,
  `value` TEXT COLLATE NOCASE NOT NULL,
  `type` VARCHAR(20) NOT NULL,
  `sort_key` INTEGER NULL,
  FOREIGN KEY (`worksheet_uuid`) REFERENCES `worksheet` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `worksheet_item_worksheet_uuid_index` ON `worksheet_item` (`worksheet_uuid`);

CREATE INDEX IF NOT EXISTS `worksheet_item_bundle_uuid_index` ON `worksheet_item` (`bundle_uuid`);

CREATE INDEX IF NOT EXISTS `worksheet_item_subworksheet_uuid_index` ON `worksheet_item` (`subworksheet_uuid`);

CREATE TABLE IF NOT EXISTS `worksheet_tag` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `worksheet_uuid` VARCHAR(63) NOT NULL,
  `tag` VARCHAR(63) COLLATE NOCASE NOT NULL,
  FOREIGN KEY (`worksheet_uuid`) REFERENCES `worksheet` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `worksheet_tag_worksheet_uuid_index` ON `worksheet_tag` (`worksheet_uuid`);

CREATE INDEX IF NOT EXISTS `worksheet_tag_tag_index` ON `worksheet_tag` (`tag`);

CREATE TABLE IF NOT EXISTS `user_group` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `group_uuid` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `is_admin` INTEGER NULL,
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
);

CREATE INDEX IF NOT EXISTS `user_group_group_uuid_index` ON `user_group` (`group_uuid`);

CREATE INDEX IF NOT EXISTS `user_group_user_id_index` ON `user_group` (`user_id`);

CREATE TABLE IF NOT EXISTS `group_bundle_permission` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `group_uuid` VARCHAR(63) NOT NULL,
  `object_uuid` VARCHAR(63) NOT NULL,
  `permission` INTEGER NOT NULL,
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`),
  FOREIGN KEY (`object_uuid`) REFERENCES `bundle` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `group_bundle_permission_group_uuid_index` ON `group_bundle_permission` (`group_uuid`);

CREATE INDEX IF NOT EXISTS `group_bundle_permission_object_uuid_index` ON `group_bundle_permission` (`object_uuid`);

CREATE TABLE IF NOT EXISTS `group_object_permission` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `group_uuid` VARCHAR(63) NOT NULL,
  `object_uuid` VARCHAR(63) NOT NULL,
  `permission` INTEGER NOT NULL,
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`),
  FOREIGN KEY (`object_uuid`) REFERENCES `worksheet` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `group_object_permission_group_uuid_index` ON `group_object_permission` (`group_uuid`);

CREATE INDEX IF NOT EXISTS `group_object_permission_object_uuid_index` ON `group_object_permission` (`object_uuid`);

CREATE TABLE IF NOT EXISTS `user_verification` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `date_created` DATETIME NOT NULL,
  `date_sent` DATETIME NULL,
  `key` VARCHAR(64) NOT NULL,
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
);

CREATE INDEX IF NOT EXISTS `user_verification_user_id_index` ON `user_verification` (`user_id`);

CREATE TABLE IF NOT EXISTS `user_reset_code` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `date_created` DATETIME NOT NULL,
  `code` VARCHAR(64) NOT NULL,
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
);

CREATE INDEX IF NOT EXISTS `user_reset_code_user_id_index` ON `user_reset_code` (`user_id`);

CREATE TABLE IF NOT EXISTS `oauth2_client` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `client_id` VARCHAR(63) NOT NULL,
  `name` VARCHAR(63) COLLATE NOCASE NULL,
  `secret` VARCHAR(255) NULL,
  `user_id` VARCHAR(63) NULL,
  `grant_type` VARCHAR(255) NOT NULL,
  `response_type` VARCHAR(255) NOT NULL,
  `scopes` TEXT NOT NULL,
  `redirect_uris` TEXT NOT NULL,
  UNIQUE (`client_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
);

CREATE INDEX IF NOT EXISTS `oauth2_client_user_id_index` ON `oauth2_client` (`user_id`);

CREATE TABLE IF NOT EXISTS `oauth2_token` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `client_id` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `scopes` TEXT NOT NULL,
  `access_token` VARCHAR(255) NULL,
  `refresh_token` VARCHAR(255) NULL,
  `expires` DATETIME NOT NULL,
  UNIQUE (`access_token`),
  UNIQUE (`refresh_token`),
  FOREIGN KEY (`client_id`) REFERENCES `oauth2_client` (`client_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
);

CREATE INDEX IF NOT EXISTS `oauth2_token_client_id_index` ON `oauth2_token` (`client_id`);

CREATE INDEX IF NOT EXISTS `oauth2_token_user_id_index` ON `oauth2_token` (`user_id`);

CREATE TABLE IF NOT EXISTS `oauth2_auth_code` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `client_id` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `scopes` TEXT NOT NULL,
  `code` VARCHAR(100) NOT NULL,
  `expires` DATETIME NOT NULL,
  `redirect_uri` VARCHAR(255) NOT NULL,
  FOREIGN KEY (`client_id`) REFERENCES `oauth2_client` (`client_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
);

CREATE INDEX IF NOT EXISTS `oauth2_auth_code_client_id_index` ON `oauth2_auth_code` (`client_id`);

CREATE INDEX IF NOT EXISTS `oauth2_auth_code_user_id_index` ON `oauth2_auth_code` (`user_id`);

CREATE TABLE IF NOT EXISTS `worker` (
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `group_uuid` VARCHAR(63) NULL,
  `tag` TEXT COLLATE NOCASE NULL,
  `cpus` INTEGER NOT NULL,
  `gpus` INTEGER NOT NULL,
  `memory_bytes` BIGINT NOT NULL,
  `free_disk_bytes` BIGINT NULL,
  `checkin_time` DATETIME NOT NULL,
  `socket_id` INTEGER NOT NULL,
  `shared_file_system` INTEGER NOT NULL DEFAULT 0,
  `tag_exclusive` INTEGER NOT NULL DEFAULT 0,
  `exit_after_num_runs` INTEGER NOT NULL DEFAULT 999999999,
  `is_terminating` INTEGER NOT NULL DEFAULT 0,
  `preemptible` INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (`user_id`, `worker_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`),
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `worker_group_uuid_index` ON `worker` (`group_uuid`);

CREATE TABLE IF NOT EXISTS `worker_socket` (
  `socket_id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
);

CREATE INDEX IF NOT EXISTS `worker_socket_user_id_index` ON `worker_socket` (`user_id`);

CREATE TABLE IF NOT EXISTS `worker_run` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `run_uuid` VARCHAR(63) NOT NULL,
  FOREIGN KEY (`user_id`, `worker_id`) REFERENCES `worker` (`user_id`, `worker_id`),
  FOREIGN KEY (`run_uuid`) REFERENCES `bundle` (`uuid`)
);

CREATE INDEX IF NOT EXISTS `worker_run_user_id_index` ON `worker_run` (`user_id`, `worker_id`);

CREATE INDEX IF NOT EXISTS `uuid_index` ON `worker_run` (`run_uuid`);

CREATE TABLE IF NOT EXISTS `worker_dependency` (
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `dependencies` BLOB NOT NULL,
  PRIMARY KEY (`user_id`, `worker_id`),
  FOREIGN KEY (`user_id`, `worker_id`) REFERENCES `worker` (`user_id`, `worker_id`)
);

CREATE TABLE IF NOT EXISTS `chat` (
  `id` INTEGER PRIMARY KEY AUTOINCREMENT,
  `time` DATETIME NOT NULL,
  `sender_user_id` VARCHAR(63) NULL,
  `recipient_user_id` VARCHAR(63) NULL,
  `message` TEXT NOT NULL,
  `worksheet_uuid` VARCHAR(63) NULL,
  `bundle_uuid` VARCHAR(63) NULL
);

INSERT OR IGNORE INTO `alembic_version` (`version_num`) VALUES ('db3ca94867b3');
